"""Run all areas at the same time, within a limit; an area that fails is a finding, not a traceback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from queue import Empty, Queue
from time import monotonic
from typing import Final

from threadsync.config import Settings, load_settings
from threadsync.errors import InvalidSettings
from worker.doctor.broker import examine_broker
from worker.doctor.channels import examine_channels
from worker.doctor.database import examine_database
from worker.doctor.finding import Finding, error, skipped
from worker.doctor.flower import examine_flower
from worker.doctor.installation import examine_installation
from worker.doctor.jira import examine_jira
from worker.doctor.reporter import examine_reporter
from worker.doctor.roles import Role, broker_user, concerns, for_role, needed_settings
from worker.doctor.running import examine_running
from worker.doctor.settings import examine_settings, judge_faults
from worker.doctor.slack import examine_slack

LIMIT_SECONDS: Final = 40
FLOWER_URL: Final = "http://127.0.0.1:5555"

Area = Callable[[], Iterable[Finding]]


def areas(settings: Settings, flower_url: str = FLOWER_URL, role: Role | None = None) -> dict[str, Area]:
    """Return the areas by name, in display order; those of other roles are skipped."""
    found: dict[str, Area] = {
        "settings": lambda: examine_settings(settings, needed_settings(role), role),
        "broker": lambda: examine_broker(settings, broker_user(role)),
        "database": lambda: examine_database(settings, role),
        "installation": lambda: examine_installation(settings),
        "channels": lambda: examine_channels(settings),
        "running": lambda: examine_running(settings),
        "slack": lambda: examine_slack(settings),
        "jira": lambda: chain(examine_jira(settings), examine_reporter(settings)),
        "flower": lambda: examine_flower(flower_url),
    }
    return {name: _of_role(role, name, area) for name, area in found.items()}


def _of_role(role: Role | None, name: str, area: Area) -> Area:
    if not concerns(role, name):
        return lambda: [skipped(name, f"not for the role {role}")]
    return lambda: for_role(role, area())


def examine(flower_url: str = FLOWER_URL, role: Role | None = None) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the findings of each area as soon as they are there."""
    try:
        settings = load_settings()
    except InvalidSettings as exc:
        # Without settings there is nothing else to check.
        yield "settings", judge_faults(exc)
        return
    yield from run(areas(settings, flower_url, role or settings.threadsync_role))


def run(areas: dict[str, Area], limit: float = LIMIT_SECONDS) -> Iterator[tuple[str, list[Finding]]]:
    """Run each area in a thread. One that is not done after ``limit`` seconds is abandoned, as an error."""
    done: Queue[tuple[str, list[Finding]]] = Queue()
    for name, area in areas.items():
        threading.Thread(
            target=lambda name=name, area=area: done.put((name, _found(name, area))), daemon=True
        ).start()
    waiting = set(areas)
    until = monotonic() + limit
    while waiting:
        try:
            name, findings = done.get(timeout=max(0.0, until - monotonic()))
        except Empty:
            break
        waiting.discard(name)
        yield name, findings
    for name in sorted(waiting):
        fix = "a server accepts connections and does not respond; check it"
        yield name, [error(name, f"no answer within {limit:g} s", fix)]


def _found(name: str, area: Area) -> list[Finding]:
    try:
        return list(area())
    # An unforeseen error must not stop the others; its message could quote a secret.
    except Exception as exc:  # noqa: BLE001
        return [
            error(
                name,
                f"could not be examined ({type(exc).__name__})",
                "run it with LOG_LEVEL=DEBUG, and report the output",
            )
        ]

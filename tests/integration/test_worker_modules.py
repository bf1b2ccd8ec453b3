"""Modules that a worker loads: those that its queues need, before its processes start, and no others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGTERM
from typing import Any

import pytest

from tests.support.backlogs import thread
from tests.support.forked import ROOT
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from worker.local.child import Child

OF_THE_COMMAND_LINE = {"flower", "tornado", "prompt_toolkit", "click_repl", "pygments", "typer", "rich"}
OF_NO_USE = {
    "opentelemetry",
    "prometheus_client",
    "yaml",
    "colorama",
    "psutil",
    "slack_sdk",
    "slack_bolt",
    "starlette",
}
OF_CALLS = {"httpx", "worker.http_once", "worker.jira", "worker.status_message"}
STEPS = {"worker.jira.step", "worker.jira.unlink", "worker.status_message.announcer", "httpx"}


@contextmanager
def started(installation: Installation, *options: str) -> Iterator[None]:
    """Run ``threadsync worker`` in a process of its own: one that is forked would have what tests have."""
    log = installation.logs / "worker.log"
    argv = [sys.executable, "-m", "worker.cli", "worker", "--include", "tests.support.loaded_modules"]
    argv += ["--concurrency", "1", "--without-mingle", "--without-gossip", *options]
    worker = Child(
        argv, log_path=log, env={**installation.env, "PYTHONPATH": str(ROOT)}, cwd=installation.logs
    )
    try:
        wait_until(lambda: " ready." in log.read_text() or worker.poll() is not None, "it is ready", 60)
        assert worker.poll() is None, log.read_text()
        yield
        assert worker.stop(SIGTERM, 60), log.read_text()
        assert worker.poll() == 0
    finally:
        worker.kill()


def ask(installation: Installation, queue: str) -> dict[str, set[str]]:
    """Ask the worker which modules it has."""
    found: Any = installation._sent(installation.celery.send_task("probe.loaded", queue=queue)).get(
        timeout=30
    )
    return {when: {name for module in names for name in parents(module)} for when, names in found.items()}


def parents(module: str) -> Iterator[str]:
    """Yield a module's name, and those of the packages that it is in."""
    parts = module.split(".")
    yield from (".".join(parts[: place + 1]) for place in range(len(parts)))


def test_a_worker_of_sessions_loads_what_commands_need(installation: Installation) -> None:
    """It loads neither Jira's nor Slack's part, nor what belongs to other programs."""
    with started(installation, "--queues", "sessions"):
        installation.send("sessions.get_or_create", **thread(1), user_id="U1").get(timeout=30)
        draft = {"summary": "Printer on fire", "description": "It burns."}
        installation.send(
            "sessions.request_sync", **thread(1), draft=draft, drafted_at="1700000100.000100"
        ).get(timeout=30)
        assert installation.send("sessions.get", **thread(1)).get(timeout=30) is not None
        found = ask(installation, "sessions")
    assert found["now"] & (OF_THE_COMMAND_LINE | OF_NO_USE | OF_CALLS) == set()
    # What a process loads for itself is shared with no other.
    assert found["now"] - found["at_start"] == set()


@pytest.mark.parametrize("queue", ["syncs", "maintenance"])
def test_a_worker_of_syncs_loads_jira_and_slack_at_its_start(installation: Installation, queue: str) -> None:
    """Its first sync is as quick as the others, and what is missing ends the start."""
    with started(installation, "--queues", queue):
        found = ask(installation, queue)
    assert found["at_start"] >= STEPS


def test_a_worker_of_lookups_loads_jira_at_its_start(installation: Installation) -> None:
    """The first person who asks waits no longer than the others."""
    with started(installation, "--queues", "lookups"):
        found = ask(installation, "lookups")
    assert found["at_start"] >= {"worker.jira.client", "worker.jira.form_lookups", "httpx"}
    assert "worker.status_message.announcer" not in found["now"]


def test_a_worker_of_all_queues_knows_all_tasks(installation: Installation) -> None:
    """Each task is registered, wherever its message may come."""
    with started(installation):
        found = ask(installation, "sessions")
        (registered,) = (installation.celery.control.inspect(timeout=10, limit=1).registered() or {}).values()
    assert found["at_start"] >= STEPS
    assert {"syncs.sync", "syncs.announce", "jira.link", "maintenance.canary"} <= set(registered)

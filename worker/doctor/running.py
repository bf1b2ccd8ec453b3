"""Check by heartbeats in the broker that queues are served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from threadsync.config import Settings
from threadsync.errors import BrokerUnavailable, InvalidSettings
from threadsync.liveness.heartbeats import heartbeats_of
from threadsync.liveness.state import Heartbeats
from threadsync.liveness.verdicts import (
    beat_is_sending,
    invalid_heartbeats,
    skewed_clocks,
    two_databases,
    verdict_on_queue,
    verdict_on_worker,
)
from threadsync.queues import QUEUES
from worker.doctor.app import app_of
from worker.doctor.finding import Finding, error, ok, skipped, warning

T = TypeVar("T")

_MOST_NAMED: Final = 20

CHECKS: Final = (
    "running: beat",
    *(f"running: queue {queue}" for queue in QUEUES),
    "running: workers",
    "running: clocks",
    "running: databases",
    "running: heartbeats",
)


def examine_running(settings: Settings) -> Iterator[Finding]:
    """Check beat, each queue and each worker."""
    try:
        signs = heartbeats_of(app_of(settings)) if settings.broker_url else None
    except (BrokerUnavailable, InvalidSettings):
        signs = None
    if signs is None:
        yield from (skipped(check, "there is no broker to read heartbeats from") for check in CHECKS)
        return
    yield from judge(signs)


def judge(signs: Heartbeats) -> Iterator[Finding]:
    """Judge the heartbeats. Before the first start nothing runs; that is a warning."""
    if beat_is_sending(signs):
        yield ok("running: beat", f"it sent canaries {signs.beat:.0f} s ago")
    else:
        since = "no heartbeat yet" if signs.beat is None else f"it has sent nothing for {signs.beat:.0f} s"
        fix = "start it: celery -A worker beat. Without it failed syncs are not retried"
        yield warning("running: beat", since, fix)
    for queue in QUEUES:
        heard = verdict_on_queue(signs, queue)
        check = f"running: queue {queue}"
        if heard.state == "deaf":
            yield error(check, heard.why, f"start or restart a worker: celery -A worker worker -Q {queue}")
        elif heard.state == "unwatched":
            yield warning(check, heard.why, "start a worker and beat; then try again in a minute")
        else:
            yield ok(check, heard.why)
    verdicts = {node: verdict_on_worker(sign, signs.refusal) for node, sign in signs.workers.items()}
    deaf = {node: verdict.why for node, verdict in verdicts.items() if verdict.state == "deaf"}
    if deaf:
        told = "; ".join(f"{node}: {why}" for node, why in _first(deaf.items()))
        yield error("running: workers", told, "restart it; a worker that is gone is listed for an hour")
    elif verdicts:
        yield ok("running: workers", ", ".join(_first(verdicts)))
    else:
        yield warning("running: workers", "no heartbeat yet", "start one: celery -A worker worker")
    yield _judge_clocks(signs)
    yield _judge_databases(signs)
    if why := invalid_heartbeats(signs):
        yield warning("running: heartbeats", why, "give the other program its own database and password")
    else:
        yield ok("running: heartbeats", "all are valid")


def _judge_clocks(signs: Heartbeats) -> Finding:
    check, skewed = "running: clocks", skewed_clocks(signs)
    if skewed:
        told = "; ".join(f"{name}: {verdict.why}" for name, verdict in _first(skewed.items()))
        return warning(check, told, "synchronize these machines by NTP (chrony, systemd-timesyncd)")
    if not signs.skews:
        return skipped(check, "no process has reported its clock")
    return ok(check, "workers and beat agree with the broker and Postgres")


def _judge_databases(signs: Heartbeats) -> Finding:
    check, mixed = "running: databases", two_databases(signs)
    if mixed:
        return error(check, mixed.why, "see docs/operate/brokers.md, One installation, one broker database")
    if not signs.places:
        return skipped(check, "no worker has reported its database")
    return ok(check, "all workers write to the same one")


def _first(named: Iterable[T]) -> Iterator[T]:
    """Limit the names in one finding."""
    return islice(named, _MOST_NAMED)

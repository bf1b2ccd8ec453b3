"""Canaries, which prove that queues are served, and samples of the queues."""

from __future__ import annotations

from typing import Any

import structlog

from threadsync.broker.clocks import SENT_AT
from threadsync.broker.errors import BROKER_ERRORS
from threadsync.errors import InvalidCommand
from threadsync.liveness.heartbeats import canary_came_through, look, worker_writes_to
from threadsync.liveness.state import Heartbeats
from threadsync.queues import QUEUES
from worker.celery import app
from worker.db.installation.store import place_of
from worker.db.pool import init_db
from worker.durable.beat import CANARY_TASK, SAMPLE, SAMPLE_TASK, begun, canary_entry

log = structlog.get_logger("threadsync.tasks")


# No events: both run so often that Flower would show little else.
@app.task(name=CANARY_TASK, ignore_result=True, send_events=False, is_routine=True)
def canary(queue: str) -> None:
    """Note that a message came through this queue, and to which database this process writes."""
    if queue not in QUEUES:
        # Not ours: each name would be another field among the heartbeats.
        raise InvalidCommand(f"{CANARY_TASK}: no queue of ours")
    node = canary.request.hostname or ""
    sent_at = (canary.request.headers or {}).get(SENT_AT)
    try:
        with app.connection_or_acquire() as connection:
            begun(connection.default_channel, canary_entry(queue))
            canary_came_through(connection.default_channel, queue, node, sent_at)
            if place := place_of(init_db()):
                worker_writes_to(connection.default_channel, node, place.database, place.skew)
    except BROKER_ERRORS as exc:
        # The next one is on its way.
        log.info("canary not noted", queue=queue, reason=f"{type(exc).__name__}: {exc}")


@app.task(name=SAMPLE_TASK, ignore_result=True, send_events=False, is_routine=True)
def sample() -> dict[str, Any]:
    """Keep a sample of each queue for the charts. Returns messages by queue."""
    # A worker that serves other queues never loads them.
    from worker.db.console_login.sessions import ConsoleSessionStore
    from worker.db.overview.store import OverviewStore

    # In passing: it comes every minute, and names of people who were signed in are not to stay.
    ConsoleSessionStore().purge()
    heartbeats = _heartbeats()
    if heartbeats is None or heartbeats.is_blind:
        return {}
    waiting = {queue: (found.messages, found.oldest_seconds) for queue, found in heartbeats.queues.items()}
    OverviewStore().keep_samples(waiting)
    return {queue: messages for queue, (messages, _) in waiting.items()}


def _heartbeats() -> Heartbeats | None:
    try:
        with app.connection_or_acquire() as connection:
            begun(connection.default_channel, SAMPLE)
            return look(connection.default_channel)
    except BROKER_ERRORS as exc:
        log.info("queues not looked at", reason=f"{type(exc).__name__}: {exc}")
        return None

"""Canaries, which show that a queue's messages come out, and samples of what waits in the queues."""

from __future__ import annotations

from typing import Any

import structlog

from worker.celery import CANARY, SAMPLE, app
from worker.db.sample_store import SampleStore
from worker.producer import TROUBLE
from worker.signs import Signs, canary_came_through, look

log = structlog.get_logger("threadsync.tasks")


# Both too often for those who watch: Flower would show little else.
@app.task(name=CANARY, ignore_result=True, send_events=False, is_routine=True)
def canary(queue: str) -> None:
    """Say that what is put into the queue comes out of it, through the broker and a worker's process."""
    try:
        with app.connection_for_write() as connection:
            canary_came_through(connection.default_channel, queue, canary.request.hostname or "")
    except TROUBLE as exc:
        # The next one is on its way.
        log.info("canary not noted", queue=queue, reason=f"{type(exc).__name__}: {exc}")


@app.task(name=SAMPLE, ignore_result=True, send_events=False, is_routine=True)
def sample() -> dict[str, Any]:
    """Keep what waits in each queue, and for how long: a chart needs a past. Returns messages by queue."""
    signs = _signs()
    if signs is None:
        return {}
    SampleStore().keep(signs.queues)
    return {queue: waiting.messages for queue, waiting in signs.queues.items()}


def _signs() -> Signs | None:
    try:
        with app.connection_for_write() as connection:
            return look(connection.default_channel)
    except TROUBLE as exc:
        log.info("queues not looked at", reason=f"{type(exc).__name__}: {exc}")
        return None

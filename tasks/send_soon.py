"""Send messages that only make something happen sooner: the sweep replaces a lost one."""

from __future__ import annotations

import time
from typing import Final

import structlog

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.command import Message
from worker.celery import app
from worker.durable.beat import begun, messages_and_consumers

AGAIN_AFTER_SECONDS: Final = 30
"""Wait before a second message, by Postgres' clock: see ``take_due``. Two messages do no harm."""

_SILENCE_SECONDS: Final = 5
"""A pause after a failure: while the broker is away, each message would cost its sender a time-out."""

_not_before = 0.0
log = structlog.get_logger("threadsync.tasks")


def send_soon(message: Message, task_id: str | None = None, parent_id: str | None = None) -> bool:
    """Publish a message; return True if the broker took it.

    Args:
        parent_id: of the command that it follows, if that does not run as a task of Celery's, which is known.
    """
    global _not_before
    if time.monotonic() < _not_before:
        return False
    try:
        app.send_task(
            message.name,
            kwargs=dict(message.kwargs),
            # Ids alone: what Flower shows.
            kwargsrepr=" ".join(map(str, message.kwargs.values())),
            queue=message.queue,
            retry=False,
            ignore_result=True,
            task_id=task_id,
            root_id=parent_id,
            parent_id=parent_id,
        )
    except BROKER_ERRORS as exc:
        _not_before = time.monotonic() + _SILENCE_SECONDS
        log.warning("message not sent", task=message.name, reason=f"{type(exc).__name__}: {exc}")
        return False
    return True


def note_that_it_came(entry: str) -> None:
    """Tell beat that the message of a schedule's entry has arrived, so that beat may send another one."""
    try:
        with app.connection_or_acquire() as connection:
            begun(connection.default_channel, entry)
    except BROKER_ERRORS as exc:
        log.info("beat not told", entry=entry, reason=f"{type(exc).__name__}: {exc}")


def room(queue: str, most: int) -> int:
    """Return how many more messages the queue may hold, of ``most``; 0 while the broker does not say.

    With no worker at the queue messages would pile up there, and one that expires does so by two clocks.
    """
    try:
        with app.connection_or_acquire() as connection:
            waiting, _consumers = messages_and_consumers(connection, queue)
    except BROKER_ERRORS as exc:
        log.info("queue not looked at", queue=queue, reason=f"{type(exc).__name__}: {exc}")
        return 0
    return max(0, most - waiting)

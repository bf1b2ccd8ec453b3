"""Messages that only make something happen sooner: whoever loses one waits for the sweep."""

from __future__ import annotations

import time
from typing import Final

import structlog

from tasks.command import Message
from worker.celery import app
from worker.producer import TROUBLE

EXPIRES_SECONDS: Final = 30
"""Afterwards another one is on its way: see ``take_due``."""

_SILENCE_SECONDS: Final = 5
"""With the broker away each message would cost its sender a time-out."""

_not_before = 0.0
log = structlog.get_logger("threadsync.tasks")


def send_soon(message: Message) -> bool:
    """Publish it, and say whether the broker took it."""
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
            expires=EXPIRES_SECONDS,
            retry=False,
            ignore_result=True,
        )
    except TROUBLE as exc:
        _not_before = time.monotonic() + _SILENCE_SECONDS
        log.warning("message not sent", task=message.name, reason=f"{type(exc).__name__}: {exc}")
        return False
    return True

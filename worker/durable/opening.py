"""Open a suspect in a process of the pool: record its opening, then read it or bury it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal

from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_app

from threadsync.config import get_settings
from threadsync.errors import DatabaseUnavailable, PoisonCommand, named
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.durable.burial import arguments_in
from worker.durable.deliveries import Envelope
from worker.observe import metrics

log = logging.getLogger("threadsync.worker")

Verdict = Literal["open", "buried", "wait"]

_UNKNOWN: Final = "(unknown)"


class OutOfTime(Exception):
    """A message whose reading takes longer than a command may; the next reader would stand still as well."""


def open_alone(envelope: Envelope, opened_by: str, died: bool) -> Verdict:
    """Record, in a child, that the message is opened, then read it; bury it if it has died too often."""
    store = DeadLetterStore()
    try:
        name = envelope.task_name or _UNKNOWN
        deaths, was_read = store.open_suspect(envelope.key, name, opened_by, died=died)
        if deaths >= get_settings().max_deliveries:
            _bury(store, envelope, deaths, was_read=was_read)
            return "buried"
        log.info("message delivered often is opened alone; deaths so far: %d", deaths)
        _read(envelope)
        store.note_read(envelope.key)
    except OutOfTime:
        raise
    # Postgres away, or too slow: others go on, and this one waits.
    except Exception as exc:  # noqa: BLE001
        log.warning("a message delivered often waits to be opened: %s", exc)
        return "wait"
    return "open"


def _read(envelope: Envelope) -> None:
    try:
        envelope.open()
    except SoftTimeLimitExceeded:
        raise OutOfTime("it takes too long to read") from None
    # The main process will meet the message's fault, and bury it for that.
    except Exception as exc:  # noqa: BLE001
        log.info("message opened alone cannot be read: %s", type(exc).__name__)


def close_alone(keys: list[str], opened_by: str) -> None:
    """Record that these messages are no longer open; their deaths stay."""
    _tidy(partial(DeadLetterStore().close_suspects, keys, opened_by))


def forget_alone(keys: list[str], _opened_by: str) -> None:
    """Forget messages that ended without having run, and their deaths."""
    for key in keys:
        _tidy(partial(DeadLetterStore().forget_redeliveries, key))


def _tidy(write: Callable[[], None]) -> None:
    # A failure to write this record may count one death too many, no more.
    try:
        write()
    except Exception as exc:  # noqa: BLE001
        log.warning("record of an opening kept: %s", exc)


def _bury(store: DeadLetterStore, envelope: Envelope, deaths: int, *, was_read: bool) -> None:
    error = PoisonCommand(envelope.task_name or _UNKNOWN, deaths)
    if deaths > get_settings().max_deliveries:
        # An attempt to bury the whole message has ended a process.
        _keep(store, envelope.cut(), error, was_read=False)
    else:
        try:
            _keep(store, envelope, error, was_read=was_read)
        except DatabaseUnavailable:
            raise
        # No memory for it, or Postgres does not take so much in the time that a statement has.
        except Exception as exc:  # noqa: BLE001
            log.warning("a message is kept in part: %s", named(exc))
            _keep(store, envelope.cut(), error, was_read=False)
    metrics.message_buried(envelope.task_name or "unreadable")
    log.error("message is now a dead letter: %s", error)
    if envelope.task_id:
        # The letter is there; a result is a copy.
        with suppress(Exception):
            current_app.backend.mark_as_failure(envelope.task_id, error)


def _keep(store: DeadLetterStore, envelope: Envelope, error: PoisonCommand, *, was_read: bool) -> None:
    """Keep a poison message as a dead letter: with its arguments if it was read once, else with its bytes."""
    arguments = _arguments(envelope) if was_read else None
    store.bury(
        Letter(
            task_id=envelope.key,
            task_name=envelope.task_name or _UNKNOWN,
            queue=envelope.queue or _UNKNOWN,
            arguments=arguments,
            body=None if arguments else envelope.body,
            missing=0 if arguments else envelope.missing,
            error=error,
            attempts=error.deliveries,
        )
    )


def _arguments(envelope: Envelope) -> str | None:
    with suppress(Exception):
        return arguments_in(envelope.open())
    return None

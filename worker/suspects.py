"""Open alone what may have ended the process that opened it, after a record in Postgres; count its deaths.

    delivered for the third time -> in line, sealed (a broker's count is suspicion: worker.deliveries)
    its turn                     -> a child records that it is opened, then parses and decodes it
                                    died as often as MAX_DELIVERIES: dead letter, without reading it again
                                 -> the main process handles it like any message
                                 -> it ends: the record goes; its process dies: the record stays, open

One suspect at a time in a worker, from its record to its end, so a death is put down to the one that was
open. Opening it is a child's work: where it is deadly the main process lives, and waiting for Postgres
blocks nothing else. A record that is found open is a death, unless the process that made it lives and saw
none. Why so: ADR 15.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from celery.concurrency.prefork import TaskPool as PreforkPool
from kombu.message import Message

from worker import metrics
from worker.celery import SOFT_TIME_LIMIT_SECONDS, TIME_LIMIT_SECONDS, app
from worker.config import get_settings
from worker.db.dead_letters import DeadLetterStore
from worker.deliveries import Envelope, envelope_of, unsealed
from worker.errors import PoisonCommand
from worker.undeliverable import arguments_in

if TYPE_CHECKING:
    from worker.consumer import DurableConsumer

log = logging.getLogger("threadsync.worker")

Verdict = Literal["open", "buried", "wait"]

_AGAIN_SECONDS: Final = 1.0
_UNKNOWN: Final = "(unknown)"
_ME: Final = str(uuid4())
"""This main process: children have it from their parent."""


class Suspects:
    """The suspects that a consumer has, in line. One a connection."""

    def __init__(self, consumer: DurableConsumer, handle: Callable[[Message, str], None]) -> None:
        self._consumer = consumer
        self._handle = handle
        self._line: deque[Message] = deque()
        self._current: Message | None = None
        self._is_recorded = False
        self._died: set[str] = set()

    def add(self, message: Message) -> None:
        """Open it when those before it have ended."""
        self._line.append(message)
        self._go_on()

    def forget(self) -> None:
        """The connection closes: all go back. What is open now did not end its process."""
        current, self._current = self._current, None
        self._line.clear()
        if current is not None and self._is_recorded:
            # It is only a record: what keeps it from being written may count one death too many.
            with suppress(Exception):
                DeadLetterStore().close_suspect(envelope_of(current).key)

    def _go_on(self) -> None:
        if self._current is None and self._line:
            self._current = self._line.popleft()
            self._is_recorded = False
            if isinstance(self._consumer.pool, PreforkPool):
                self._consumer.controller.semaphore.acquire(self._open, self._current)
            else:
                self._open(self._current)

    def _open(self, message: Message) -> None:
        if message is not self._current:
            # It went back meanwhile.
            self._consumer.controller.semaphore.release()
            return
        envelope = envelope_of(message)
        self._is_recorded = True
        self._consumer.pool.apply_async(
            open_alone,
            args=(envelope, _ME, envelope.key in self._died),
            callback=partial(self._on_opened, message),
            error_callback=partial(self._on_death, message),
            accept_callback=_nothing,
            timeout_callback=_nothing,
            soft_timeout=SOFT_TIME_LIMIT_SECONDS,
            timeout=TIME_LIMIT_SECONDS,
            correlation_id=envelope.key,
        )

    def _on_opened(self, message: Message, verdict: Verdict, **_: Any) -> None:
        if message is not self._current:
            return
        key = envelope_of(message).key
        if verdict != "wait":
            self._died.discard(key)
        if verdict == "open":
            self._run(message, key)
        elif verdict == "buried":
            message.ack_log_error(log, self._consumer.connection_errors)
            self._next()
        else:
            self._current, self._is_recorded = None, False
            self._line.append(message)
            self._consumer.timer.call_after(_AGAIN_SECONDS, self._go_on)

    def _on_death(self, message: Message, exc_info: Any, **_: Any) -> None:
        if message is self._current:
            log.warning("a message ended the process that opened it: %s", exc_info.exception)
            self._died.add(envelope_of(message).key)
            message.reject_log_error(log, self._consumer.connection_errors, requeue=True)
            self._next()

    def _run(self, message: Message, key: str) -> None:
        opened: Any = unsealed(message)
        acknowledge, reject = opened.ack, opened.reject

        def on_ack(multiple: bool = False) -> None:
            acknowledge(multiple=multiple)
            self._end(message)

        def on_reject(requeue: bool = False) -> None:
            reject(requeue=requeue)
            if requeue and getattr(opened, "ended_its_process", False):
                self._died.add(key)
            self._end(message)

        opened.ack, opened.reject = on_ack, on_reject
        opened.on_set_aside = partial(self._end, message)
        try:
            self._handle(opened, key)
        # The broker is away, say. The pool would log it, and the line would wait for its end for ever.
        except Exception as exc:  # noqa: BLE001
            log.warning("a message opened alone goes back: %s", exc)
            if not opened.acknowledged:
                opened.reject_log_error(log, self._consumer.connection_errors, requeue=True)
            self._end(message)

    def _end(self, message: Message) -> None:
        if message is self._current:
            self._next()

    def _next(self) -> None:
        self._current, self._is_recorded = None, False
        self._go_on()


def open_alone(envelope: Envelope, opened_by: str, died: bool) -> Verdict:
    """In a child: record that the message is opened, then read it; or bury it, if it has died too often."""
    store = DeadLetterStore()
    try:
        name = envelope.task_name or _UNKNOWN
        deaths, was_read = store.open_suspect(envelope.key, name, opened_by, died=died)
        if deaths >= get_settings().max_deliveries:
            _bury(store, envelope, deaths, was_read=was_read)
            return "buried"
        log.info("message delivered often is opened alone; deaths so far: %d", deaths)
        # What is wrong with it the main process will find, and bury it for that.
        with suppress(Exception):
            envelope.open()
        store.note_read(envelope.key)
    # Postgres away, or too slow: others go on, and this one waits.
    except Exception as exc:  # noqa: BLE001
        log.warning("a message delivered often waits to be opened: %s", exc)
        return "wait"
    return "open"


def _bury(store: DeadLetterStore, envelope: Envelope, deaths: int, *, was_read: bool) -> None:
    """Read once more only what did not die of being read: should it do so now, its next letter has bytes."""
    error = PoisonCommand(envelope.task_name or _UNKNOWN, deaths)
    arguments = _arguments(envelope) if was_read else None
    store.bury(
        task_id=envelope.key,
        task_name=envelope.task_name or _UNKNOWN,
        queue=envelope.queue or _UNKNOWN,
        arguments=arguments,
        body=None if arguments else envelope.body,
        error=error,
        attempts=deaths,
    )
    metrics.message_buried(envelope.task_name or "unreadable")
    log.error("message is now a dead letter: %s", error)
    if envelope.task_id:
        # The letter is there; a result is a copy.
        with suppress(Exception):
            app.backend.mark_as_failure(envelope.task_id, error)


def _arguments(envelope: Envelope) -> str | None:
    with suppress(Exception):
        return arguments_in(envelope.open())
    return None


def _nothing(*_: Any, **__: Any) -> None:
    """Celery's pool calls these hooks without asking whether there is one."""

"""Open alone, after a record in Postgres, messages that may have ended the process that opened them.

    delivered for the third time -> in line, sealed (a broker's count is suspicion: worker.durable.deliveries)
    first in line                -> a child records that it is opened, then reads it (worker.durable.opening)
                                    died as often as MAX_DELIVERIES: dead letter, without reading it again
                                 -> the main process handles it like any message
                                 -> it ends: the record goes; its process dies: the record stays, open
                                 -> it goes back, or waits: the record is closed before another may have it

One suspect at a time in a worker, from its record to its end, so a death is put down to the one that was
open. Why so: ADR 15.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final
from uuid import uuid4

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from kombu.message import Message

from threadsync.errors import named
from worker.durable.children import TakingConsumer, has_children, run_in_a_child, when_a_child_is_free
from worker.durable.deliveries import Envelope, envelope_of, unsealed
from worker.durable.opening import OutOfTime, Verdict, close_alone, forget_alone, open_alone

log = logging.getLogger("threadsync.worker")

_AGAIN_SECONDS: Final = 1.0
_ENDED_BY_IT: Final = (WorkerLostError, TimeLimitExceeded, OutOfTime)
_ME: Final = str(uuid4())
"""Id of this main process, which its children inherit."""

Then = Callable[[], None]


class Suspects:
    """Queue of the suspects of one connection; ``before``: the former connection's queue."""

    def __init__(
        self, consumer: TakingConsumer, handle: Callable[[Message, str], None], before: Suspects | None = None
    ) -> None:
        self._consumer = consumer
        self._handle = handle
        self._line: deque[Message] = deque()
        self._current: Message | None = None
        self._is_given = False
        self._job: Any = None
        # Waiting suspects that Postgres may have recorded as open, without answering.
        self._tried: set[str] = set()
        self._died: set[str] = before._died if before else set()
        # Suspects that a child still read when the connection was lost; their messages are here again.
        self._still_read: list[tuple[str, Any]] = before._read_now() if before else []

    def add(self, message: Message) -> None:
        """Open a suspect when the earlier ones have ended."""
        self._line.append(message)
        self._go_on()

    def forget(self) -> None:
        """Forget all suspects when connection or worker ends: they go back, the open one without a death."""
        keys = list(self._tried)
        if self._current is not None and self._is_given:
            key = envelope_of(self._current).key
            keys.append(key)
            self._still_read.append((key, self._job))
        self._rest()
        self._line.clear()
        self._tried.clear()
        if keys:
            close_alone(keys, _ME)

    def _read_now(self) -> list[tuple[str, Any]]:
        # The pool has forgotten a job that no child has begun. Pool solo has no jobs.
        return [(key, job) for key, job in self._still_read if _is_at_work(job)]

    def _go_on(self) -> None:
        if self._current is not None or not self._line:
            return
        self._still_read = self._read_now()
        read = {key for key, _job in self._still_read}
        free = next((message for message in self._line if envelope_of(message).key not in read), None)
        if free is None:
            self._consumer.timer.call_after(_AGAIN_SECONDS, self._go_on)
            return
        self._line.remove(free)
        self._current = free
        self._when_a_process_is_free(free, partial(self._open, free))

    def _when_a_process_is_free(self, message: Message, use: Then) -> None:
        """Call ``use`` once a child is free, before other messages; its job's end frees the child."""
        with self._before_others(message):
            when_a_child_is_free(self._consumer, self._use_place, message, use)

    @contextmanager
    def _before_others(self, message: Message) -> Iterator[None]:
        """Let a suspect overtake the messages that wait for a child already.

        One suspect at a time, each behind all that a worker holds, would take minutes for the line that a
        killed worker leaves. It takes one place of the pool at most; one that has ended a process here waits.
        """
        is_first = has_children(self._consumer) and envelope_of(message).key not in self._died
        waiting: Any = self._consumer.controller.semaphore._waiting if is_first else ()
        before = len(waiting)
        try:
            yield
        finally:
            if len(waiting) > before:
                waiting.rotate(len(waiting) - before)

    def _use_place(self, message: Message, use: Then) -> None:
        if message is self._current:
            use()
        elif has_children(self._consumer):
            # The suspect went back meanwhile.
            self._consumer.controller.semaphore.release()

    def _open(self, message: Message) -> None:
        envelope = envelope_of(message)
        self._tried.discard(envelope.key)
        self._is_given = True
        try:
            job = self._give(message, envelope)
        except MemoryError:
            # The record is needed, lest its deaths are not counted.
            job = self._give(message, envelope.cut())
        # Pool solo has done it by now, and what follows.
        if message is self._current:
            self._job = job

    def _give(self, message: Message, envelope: Envelope) -> Any:
        return run_in_a_child(
            self._consumer,
            open_alone,
            envelope,
            _ME,
            envelope.key in self._died,
            then=partial(self._on_opened, message),
            lost=partial(self._on_death, message),
            key=envelope.key,
        )

    def _on_opened(self, message: Message, verdict: Verdict, **_: Any) -> None:
        key = envelope_of(message).key
        if message is not self._current:
            # The suspect went back while its opening was recorded.
            if verdict != "buried":
                close_alone([key], _ME)
            return
        if verdict != "wait":
            self._died.discard(key)
        if verdict == "open":
            self._run(message, key)
        elif verdict == "buried":
            with self._ending(message):
                message.ack_log_error(log, self._consumer.connection_errors)
        else:
            self._wait(message, key)

    def _wait(self, message: Message, key: str) -> None:
        self._rest()
        # An error does not say that nothing was written.
        self._tried.add(key)
        self._line.append(message)
        self._consumer.timer.call_after(_AGAIN_SECONDS, self._go_on)

    def _on_death(self, message: Message, exc_info: Any, **_: Any) -> None:
        if message is not self._current:
            return
        error = exc_info.exception
        key = envelope_of(message).key
        if not isinstance(getattr(error, "exc", error), _ENDED_BY_IT):
            log.warning("a message could not be opened: %s", error)
            self._wait(message, key)
            return
        log.warning("a message ended the process that opened it: %s", error)
        self._count(
            message, partial(message.reject_log_error, log, self._consumer.connection_errors, requeue=True)
        )

    def _count(self, message: Message, give_back: Then) -> None:
        """Count a death of a suspect, whose record stays open, and give the message back."""
        self._died.add(envelope_of(message).key)
        with self._ending(message):
            give_back()

    def _run(self, message: Message, key: str) -> None:
        opened: Any = message
        # Where the transport has opened it, this is the one to be watched, too.
        reject = message.reject
        try:
            opened = unsealed(message)
            self._watch(message, opened)
            with self._before_others(message):
                self._handle(opened, key)
        # The pool would log it, and the line would wait for its end for ever.
        except Exception as exc:  # noqa: BLE001
            log.warning("a message opened alone goes back: %s", named(exc))
            if opened.acknowledged:
                self._leave(message, forget_alone)
            # kombu counts KeyError among these.
            elif isinstance(exc, self._consumer.connection_errors) and not isinstance(exc, LookupError):
                self._leave(message, close_alone, partial(reject, requeue=True))
            # For lack of memory, for example, which the message would meet again.
            else:
                self._count(message, partial(reject, requeue=True))

    def _watch(self, message: Message, opened: Any) -> None:
        """Follow an opened message to its end: acknowledged, rejected or given back."""
        acknowledge, reject = opened.ack, opened.reject

        def on_end(tell: Then) -> None:
            ran = getattr(opened, "ran_to_its_end", False)
            waits = getattr(opened, "is_put_away", False)
            try:
                tell()
            finally:
                if ran:
                    self._end(message)
                else:
                    # It waits, or has ended unrun: it was revoked, for example.
                    self._leave(message, close_alone if waits else forget_alone)

        def on_ack(multiple: bool = False) -> None:
            on_end(partial(acknowledge, multiple=multiple))

        def on_reject(requeue: bool = False) -> None:
            if message is not self._current:
                reject(requeue=requeue)
            elif not requeue:
                on_end(partial(reject, requeue=False))
            elif getattr(opened, "ended_its_process", False):
                self._count(message, partial(reject, requeue=True))
            else:
                self._leave(message, close_alone, partial(reject, requeue=True))

        opened.ack, opened.reject = on_ack, on_reject
        opened.on_set_aside = partial(self._leave, message, close_alone)

    def _leave(self, message: Message, tidy: Callable[..., None], then: Then | None = None) -> None:
        """End a suspect that did not run: its record first, lest another worker count a death."""
        if message is not self._current:
            return
        key = envelope_of(message).key

        def ended(*_: Any, **__: Any) -> None:
            if message is self._current:
                with self._ending(message), suppress(*self._consumer.connection_errors):
                    if then:
                        then()

        write = partial(run_in_a_child, self._consumer, tidy, [key], _ME, then=ended, lost=ended, key=key)
        self._when_a_process_is_free(message, write)

    @contextmanager
    def _ending(self, message: Message) -> Iterator[None]:
        """Go on with the next suspect after the block, even if the broker could not be told."""
        try:
            yield
        finally:
            self._end(message)

    def _end(self, message: Message) -> None:
        if message is self._current:
            self._rest()
            self._go_on()

    def _rest(self) -> None:
        self._current, self._is_given, self._job = None, False, None


def _is_at_work(job: Any) -> bool:
    return bool(getattr(job, "_accepted", False)) and not job.ready()

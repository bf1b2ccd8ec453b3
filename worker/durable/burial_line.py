"""Keep as dead letters, in turn, the messages that a worker's main process cannot hand to a command.

    add -> line -> a child writes up to MOST_AT_ONCE dead letters (burial.bury_all)
                   kept     acknowledged
                   refused  by a Postgres that takes others, also in its shortened form: dropped, an error
                   waits    Postgres is away, or cannot do it now: tried again

Writing is a child's work: while Postgres is away, or slow, the main process goes on. A message in the line is
held like one that runs; when the connection closes, or the worker stops, it goes back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from kombu.message import Message

from threadsync.errors import named
from worker.db.dead_letters.letter import Letter
from worker.durable.burial import Fate, bury_all, letter_about
from worker.durable.children import TakingConsumer, has_children, run_in_a_child, when_a_child_is_free

log = logging.getLogger("threadsync.worker")

MOST_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
_AGAIN_SECONDS: Final = 3.0
_DEATHS: Final = (MemoryError, WorkerLostError, TimeLimitExceeded)

Then = Callable[[], None]


@dataclass
class _Case:
    """A message to keep as a dead letter; ``then`` ends the message afterwards."""

    message: Message
    letter: Letter
    then: Then


class Burials:
    """The line of messages that a consumer is to keep as dead letters."""

    def __init__(self, consumer: TakingConsumer) -> None:
        self._consumer = consumer
        self._line: deque[_Case] = deque()
        self._current: list[_Case] = []
        self._rests = False
        # Number of messages to keep one by one after a child's death, to find the one that caused it.
        self._singly = 0

    def add(self, message: Message, error: BaseException, then: Then, *, answer: bool) -> None:
        """Keep a message as a dead letter, then call ``then``. Raises ``MemoryError``.

        ``answer``: whether the error is to be its result as well.
        """
        letter = letter_about(message, error)
        self._line.append(_Case(message, letter if answer else replace(letter, answer=""), then))
        # Not at once: the same TAKE may have brought more.
        self._consumer.call_soon(self._go_on)

    def forget(self) -> None:
        """Forget all messages when the connection or the worker ends: they go back, and timers are gone."""
        self._line.clear()
        self._current = []
        self._rests, self._singly = False, 0

    def _go_on(self) -> None:
        if self._current or self._rests or not self._line:
            return
        self._current = cases = self._next_cases()
        when_a_child_is_free(self._consumer, self._use_place, cases)

    def _next_cases(self) -> list[_Case]:
        most = 1 if self._singly else MOST_AT_ONCE
        self._singly = max(0, self._singly - 1)
        cases = [self._line.popleft()]
        while self._line and len(cases) < most and sum(case.letter.size for case in cases) < _BYTES_AT_ONCE:
            cases.append(self._line.popleft())
        return cases

    def _use_place(self, cases: list[_Case]) -> None:
        if not self._give(cases) and has_children(self._consumer):
            self._consumer.controller.semaphore.release()

    def _give(self, cases: list[_Case]) -> bool:
        """Give dead letters to a child; return False if it got no job, so that its place can be freed."""
        if cases is not self._current:
            return False
        try:
            run_in_a_child(
                self._consumer,
                bury_all,
                [case.letter for case in cases],
                then=partial(self._on_written, cases),
                lost=partial(self._on_lost, cases),
                key=cases[0].letter.task_id,
            )
        except Exception as exc:  # noqa: BLE001 - the line must go on, whatever it is
            self._on_error(cases, exc)
            return False
        return True

    def _on_written(self, cases: list[_Case], fates: Sequence[Fate], **_: Any) -> None:
        if cases is not self._current:
            return
        self._current = []
        for case, fate in zip(cases, fates, strict=True):
            if fate == "waits":
                self._line.append(case)
            else:
                self._end(case)
        if "waits" in fates:
            self._rest()
        else:
            self._consumer.call_soon(self._go_on)

    def _end(self, case: _Case) -> None:
        try:
            case.then()
        except Exception as exc:  # noqa: BLE001 - the others are to end; the broker delivers this one again
            log.warning("a message is a dead letter, and was not acknowledged: %s", named(exc))

    def _on_lost(self, cases: list[_Case], exc_info: Any, **_: Any) -> None:
        error = exc_info.exception
        self._on_error(cases, getattr(error, "exc", error))

    def _on_error(self, cases: list[_Case], error: BaseException) -> None:
        """Try again after an error; a single message by which a child may have died goes back, as a death."""
        if cases is not self._current:
            return
        log.warning("dead letters wait to be written: %s", named(error))
        self._current = []
        if len(cases) > 1:
            self._line.extendleft(reversed(cases))
            self._singly = len(cases)
        elif isinstance(error, _DEATHS):
            give_back(cases[0].message, self._consumer.connection_errors, is_death=True)
        else:
            self._line.extend(cases)
        self._rest()

    def _rest(self) -> None:
        self._rests = True
        self._consumer.timer.call_after(_AGAIN_SECONDS, self._wake)

    def _wake(self) -> None:
        self._rests = False
        self._go_on()


def give_back(message: Any, connection_errors: Any, *, is_death: bool = False) -> None:
    """Give a message back to the broker; if a child died of it, that counts once it is opened alone."""
    # For worker/durable/suspects.py, which hears only that the message goes back.
    message.ended_its_process = is_death
    message.reject_log_error(log, connection_errors, requeue=True)

"""The deadline of a call to the broker: a second of silence, and never as long as Slack waits.

The silence that counts is the broker's. It ends for all calls of a process whenever one of them is answered,
so those of a burst wait for their turn; if none is answered, all fail together. It is counted in running time
(``threadsync.broker.running_time``): a process that hardly gets a processor, or its interpreter, must not
call a healthy broker silent whose answer lies in its socket.

Slack's 3 s know no excuse, so a silence ends by the clock on the wall too. That wins over the promise to a
starved process: one that reads no answer at all for so long gets an error, and its caller may send again.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import cache
from time import monotonic
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

import redis

from threadsync.broker.running_time import RUNNING, TICK_SECONDS
from threadsync.errors import EnqueueFailed

T = TypeVar("T")

SILENCE_SECONDS: Final = 0.9
"""Running time without a reply after which a call fails. `EnqueueFailed` is promised within a second."""

LONGEST_SILENCE_SECONDS: Final = 2.2
"""The longest silence in wall-clock time."""

GRACE_SECONDS: Final = 0.3
"""Grace period after it: the whole process may have stood still, with unread replies in its sockets."""

AT_ONCE_SECONDS: Final = 0.1
"""Time within which most calls end, without needing running time; a lasting silence began so long ago."""

_QUEUE_SECONDS: Final = 10
"""Longest wait for a thread while the broker answers others, reached only in a burst of thousands."""

_ANSWER_SECONDS: Final = 5.0
"""Longest call while the broker answers others: its thread has to share the interpreter."""


class Moment(NamedTuple):
    """A point in time, by both clocks."""

    running: float = 0.0
    wall: float = 0.0


def now() -> Moment:
    """Return the present; its running time stands while no call waits longer than most."""
    return Moment(RUNNING.last(), monotonic())


@dataclass
class LastReply:
    """The moment at which a broker last replied to any of this process's clients."""

    at: Moment = field(default_factory=Moment)


@cache
def last_reply_of(broker_url: str) -> LastReply:
    """Return the record of this broker, one for all clients of the process."""
    return LastReply()


@dataclass
class Patience:
    """How long a caller waits for the broker."""

    reply: LastReply
    made: Moment = field(default_factory=now)
    begun: Moment | None = None
    """The moment at which the call's turn came."""

    not_begun: ClassVar[str] = "its turn did not come: "
    is_given_up: bool = False
    _is_overdue: bool = False

    def patience(self) -> float:
        """Return the seconds to wait before asking again. Raises ``EnqueueFailed`` when none are left."""
        waited = monotonic() - self.made.wall
        if waited < AT_ONCE_SECONDS:
            return max(AT_ONCE_SECONDS - waited, TICK_SECONDS)
        left, on_the_wall = self._left(), self._left_on_the_wall()
        if left <= 0:
            raise self.given_up(f"within {SILENCE_SECONDS:g} s")
        return on_the_wall if self._is_overdue else max(min(left, on_the_wall), TICK_SECONDS)

    def _left(self) -> float:
        """Return the seconds left by running time."""
        silent_since = max(self.made.running, self.reply.at.running)
        if self.begun is None:
            latest = self.made.running + _QUEUE_SECONDS
        else:
            latest = self.begun.running + _ANSWER_SECONDS
        return min(silent_since + SILENCE_SECONDS, latest) - AT_ONCE_SECONDS - RUNNING.now()

    def _left_on_the_wall(self) -> float:
        """Return the seconds left by the wall clock; at their end a grace period, once."""
        silence = monotonic() - max(self.made.wall, self.reply.at.wall)
        was_overdue, self._is_overdue = self._is_overdue, silence >= LONGEST_SILENCE_SECONDS
        if not self._is_overdue:
            return LONGEST_SILENCE_SECONDS - silence
        if was_overdue:
            raise self.given_up(f"within {silence:.1f} s, in which this process could hardly run")
        return GRACE_SECONDS

    def given_up(self, when: str) -> EnqueueFailed:
        """Give the call up and return the error for it."""
        self.is_given_up = True
        waited = self.not_begun if self.begun is None else ""
        return EnqueueFailed(f"{waited}the broker did not answer {when}")


@dataclass
class Call(Patience, Generic[T]):
    """One call to the broker, carried out by a thread while its caller waits."""

    not_begun: ClassVar[str] = "no thread was free: "
    future: Future[T] = field(default_factory=Future)

    def result(self, within: float | None = None) -> T:
        """Return the result. Raises ``TimeoutError`` if there is none ``within`` so many seconds."""
        try:
            return self.future.result(within)
        except CancelledError as exc:
            raise EnqueueFailed("the client was closed before the broker had the message") from exc

    def given_up(self, when: str) -> EnqueueFailed:
        """Give the call up as its base does; one that no thread has begun is cancelled."""
        self.future.cancel()
        return super().given_up(when)


class Silence:
    """Running time for which one connection has brought no reply.

    Args:
        limit: seconds after which it is taken for dead.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since = monotonic()
        self._counted_from: float | None = None

    def end(self) -> None:
        """Note that there was a reply."""
        self._since = monotonic()
        self._counted_from = None

    def left(self) -> float:
        """Return the seconds to wait before asking again. Raises ``redis.TimeoutError`` if none are left."""
        at_once = AT_ONCE_SECONDS - (monotonic() - self._since)
        if at_once > 0:
            return max(at_once, TICK_SECONDS)
        if self._counted_from is None:
            self._counted_from = RUNNING.now()
        left = self._limit - AT_ONCE_SECONDS - (RUNNING.now() - self._counted_from)
        if left <= 0:
            raise redis.TimeoutError(f"no reply within {self._limit:g} s")
        return max(left, TICK_SECONDS)

"""Threads that wait for results: one of those that wait reads for all, so that no thread stands between."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from threadsync.broker.subscription.line import FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, Line
from threadsync.broker.subscription.opening import Connect
from threadsync.broker.subscription.waiters import News

Judge = Callable[[News], tuple[bool, Any]]
"""Returns True and the result, or False if this is not the end. Raises what the result stands for."""


class Threads:
    """The waiting threads of one process.

    The first that waits leads: it waits for the socket, and wakes those for whom something came. When it has
    its own result it hands over to another one.
    """

    def __init__(self, connect: Connect, refused: Callable[[str], None]) -> None:
        self._lock = threading.Lock()
        self._line = Line(connect, self._call, self._changed, refused)
        self._is_led = False
        self._waiting: set[_Thread] = set()
        # Only the thread that leads polls; each connection has a new one.
        self._poll: Any = None

    def wait(self, key: bytes, deadline: float, judge: Judge) -> tuple[bool, Any]:
        """Return True and the result; False if it was not there at the deadline, by the monotonic clock."""
        waiter = _Thread()
        try:
            with self._lock:
                self._line.enter(key, waiter)
            while (news := self._next(key, waiter, deadline)) is not None:
                ready, value = judge(news)
                if ready:
                    return True, value
                with self._lock:
                    self._line.stay(key)
            return False, None
        finally:
            with self._lock:
                self._line.leave(key, waiter)

    def close(self) -> None:
        """Hang up. Those who wait go on, and the last one hangs up again."""
        with self._lock:
            self._line.close()

    def _next(self, key: bytes, waiter: _Thread, deadline: float) -> News | None:
        """Return the next news; None at the deadline."""
        with self._lock:
            self._waiting.add(waiter)
        try:
            pause = FIRST_LOOK_SECONDS
            look_at = monotonic() + pause
            while waiter.news is None and (now := monotonic()) < deadline:
                if now >= look_at:
                    with self._lock:
                        self._line.look_again(key)
                    pause = min(2 * pause, LONGEST_LOOK_SECONDS)
                    look_at = monotonic() + pause
                self._wait(waiter, min(look_at, deadline))
            news, waiter.news = waiter.news, None
            return news
        finally:
            with self._lock:
                self._waiting.discard(waiter)
                self._hand_over()

    def _wait(self, waiter: _Thread, until: float) -> None:
        """Wait for something to happen: read for all, or let another thread read."""
        leads = False
        try:
            with self._lock:
                if waiter.news is not None:
                    return
                if not self._is_led and self._line.socket is not None:
                    # In this order: a signal may interrupt a thread anywhere.
                    leads = True
                    self._is_led = True
                    poll = self._poll
                    poll.modify(self._line.socket, _events(self._line))
            seconds = max(until - monotonic(), 0)
            if leads:
                poll.poll(seconds * 1000)
            else:
                waiter.sleep(seconds)
        finally:
            if leads:
                with self._lock:
                    self._is_led = False
                    self._line.read()

    def _hand_over(self) -> None:
        """Let another thread lead, if none does."""
        if not self._is_led and self._line.socket is not None:
            for waiter in self._waiting:
                waiter.wake()
                return

    def _call(self, work: Callable[[], None]) -> bool:
        with self._lock:
            work()
        return True

    def _changed(self) -> None:
        if self._line.socket is not None:
            self._poll = select.poll()
            self._poll.register(self._line.socket, select.POLLIN)
            self._hand_over()


class _Thread:
    """A waiting thread."""

    def __init__(self) -> None:
        self.news: News | None = None
        self._sleep = threading.Lock()
        self._sleep.acquire()

    def tell(self, news: News) -> None:
        self.news = news
        self.wake()

    def wake(self) -> None:
        if self._sleep.locked():
            self._sleep.release()

    def sleep(self, seconds: float) -> None:
        self._sleep.acquire(timeout=seconds)


def _events(line: Line) -> int:
    return select.POLLIN | (select.POLLOUT if line.wants_to_send else 0)

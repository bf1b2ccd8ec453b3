"""Tasks of an asyncio loop that wait for results: the loop itself reads, without a thread or a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from threadsync.broker.subscription.line import FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, Line
from threadsync.broker.subscription.opening import Connect
from threadsync.broker.subscription.waiters import News

AsyncJudge = Callable[[News], Awaitable[tuple[bool, Any]]]
"""As ``Judge``, for asyncio."""


class EventLoop:
    """The waiting tasks of one loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connect: Connect, refused: Callable[[str], None]
    ) -> None:
        self.loop = loop
        self._line = Line(connect, self._call, self._changed, refused)
        self._watched: int | None = None
        self._is_writing = False

    async def wait(self, key: bytes, deadline: float, judge: AsyncJudge) -> tuple[bool, Any]:
        """Return True and the result; False if it was not there at the deadline, by the monotonic clock."""
        waiter = _Task(self.loop)
        self._line.enter(key, waiter)
        self._write_on()
        try:
            while (news := await self._next(key, waiter, deadline)) is not None:
                ready, value = await judge(news)
                if ready:
                    return True, value
                self._line.stay(key)
                self._write_on()
            return False, None
        finally:
            self._line.leave(key, waiter)
            self._write_on()

    def close(self) -> None:
        """Hang up. Tasks that wait go on, and the last one hangs up again. May be called in any thread."""
        if self.loop.is_closed() or not self._call(self._line.close):
            self._watched = None
            self._line.drop()

    async def _next(self, key: bytes, waiter: _Task, deadline: float) -> News | None:
        """Return the next news; None at the deadline."""
        pause = FIRST_LOOK_SECONDS
        look_at = monotonic() + pause
        while waiter.news is None:
            if (now := monotonic()) >= deadline:
                return None
            if now >= look_at:
                self._line.look_again(key)
                self._write_on()
                pause = min(2 * pause, LONGEST_LOOK_SECONDS)
                look_at = monotonic() + pause
            await waiter.sleep(min(look_at, deadline) - monotonic())
        news, waiter.news = waiter.news, None
        return news

    def _call(self, work: Callable[[], None]) -> bool:
        try:
            self.loop.call_soon_threadsafe(work)
        except RuntimeError:
            return False
        return True

    def _readable(self) -> None:
        self._line.read()
        self._write_on()

    def _writable(self) -> None:
        self._line.flush()
        self._write_on()

    def _changed(self) -> None:
        if self._watched is not None:
            self.loop.remove_reader(self._watched)
            self.loop.remove_writer(self._watched)
            self._watched, self._is_writing = None, False
        if self._line.socket is not None:
            self._watched = self._line.socket.fileno()
            self.loop.add_reader(self._watched, self._readable)
            self._write_on()

    def _write_on(self) -> None:
        """Watch for room in the socket while there is something to be sent."""
        if self._watched is None or self._line.wants_to_send == self._is_writing:
            return
        self._is_writing = not self._is_writing
        if self._is_writing:
            self.loop.add_writer(self._watched, self._writable)
        else:
            self.loop.remove_writer(self._watched)


class _Task:
    """A waiting task."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.news: News | None = None
        self._loop = loop
        self._sleep: asyncio.Future[None] | None = None

    def tell(self, news: News) -> None:
        self.news = news
        self._wake()

    async def sleep(self, seconds: float) -> None:
        self._sleep = self._loop.create_future()
        timer = self._loop.call_later(max(seconds, 0), self._wake)
        try:
            await self._sleep
        finally:
            timer.cancel()
            self._sleep = None

    def _wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

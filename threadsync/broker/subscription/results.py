"""The subscriptions of a client: one for the threads of each process, and one for each asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from threadsync.broker.subscription.event_loop import AsyncJudge, EventLoop
from threadsync.broker.subscription.opening import Connect
from threadsync.broker.subscription.threads import Judge, Threads

log = logging.getLogger("threadsync")


class Subscriptions:
    """Wait for results by subscription, in any thread, loop and forked process. Nothing is connected yet."""

    def __init__(self, connect: Connect) -> None:
        self.is_refused = False
        """True once the server refused: then results are to be polled for."""
        self._connect = connect
        # Without a lock, which a forked process could inherit while it is held.
        self._threads: dict[int, Threads] = {}
        self._loops: dict[tuple[int, int], EventLoop] = {}

    def wait(self, key: bytes, deadline: float, judge: Judge) -> tuple[bool, Any]:
        """Return True and the result; False if it was not there at the deadline, by the monotonic clock."""
        process = os.getpid()
        threads = self._threads.get(process)
        if threads is None:
            self._forget_others()
            threads = self._threads.setdefault(process, Threads(self._connect, self._refused))
        return threads.wait(key, deadline, judge)

    async def wait_async(self, key: bytes, deadline: float, judge: AsyncJudge) -> tuple[bool, Any]:
        """The same for asyncio."""
        loop = asyncio.get_running_loop()
        place = os.getpid(), id(loop)
        here = self._loops.get(place)
        if here is None or here.loop is not loop:
            self._forget_others()
            here = self._loops[place] = EventLoop(loop, self._connect, self._refused)
        return await here.wait(key, deadline, judge)

    def close(self) -> None:
        """Hang up everywhere. Those who wait go on."""
        self._forget_others()
        threads, self._threads = self._threads, {}
        loops, self._loops = self._loops, {}
        for of_process in threads.values():
            of_process.close()
        for of_loop in loops.values():
            of_loop.close()

    def _forget_others(self) -> None:
        """Forget loops that were closed, and what a forked process inherited: it belongs to the parent."""
        process = os.getpid()
        for other in [one for one in list(self._threads) if one != process]:
            self._threads.pop(other, None)
        for place, one in list(self._loops.items()):
            if place[0] != process or one.loop.is_closed():
                self._loops.pop(place, None)
                if place[0] == process:
                    one.close()

    def _refused(self, words: str) -> None:
        if not self.is_refused:
            self.is_refused = True
            log.warning("results are polled for, as the server refuses a subscription to them: %s", words)

"""What goes on after Slack has its answer: bounded, tracked, and gone when the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 1000


class Background:
    """Tasks that nobody waits for. Nothing durable belongs here: a stop may cancel it."""

    def __init__(self, most_at_once: int = _MOST_AT_ONCE) -> None:
        self._most_at_once = most_at_once
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Begin ``work``; too much at once is dropped and logged. An error in it is logged, and no more."""
        if len(self._tasks) >= self._most_at_once:
            work.close()
            log.warning("background work dropped", what=what, running=len(self._tasks))
            return
        task = asyncio.create_task(_logged(work, what), name=what)
        # The loop keeps no strong reference to a task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, grace: float = 2) -> None:
        """Let what runs end within ``grace`` seconds, cancel the rest, and return when none is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        # What runs may begin something else before it ends.
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, until - loop.time()))
            if loop.time() >= until:
                break
        late = set(self._tasks)
        for task in late:
            task.cancel()
        if late:
            log.warning("background work cancelled", count=len(late))
            await asyncio.wait(late)


async def _logged(work: Coroutine[Any, Any, None], what: str) -> None:
    try:
        await work
    except Exception:
        log.exception("background work failed", what=what)

"""Run work after the response to Slack: bounded, tracked, and cancelled when the process stops.

| room | what is in it | at most | of one user |
|---|---|---|---|
| ``events`` | follow-ups of events | 2,000 | 1,000 |
| ``clicks`` | replies to what users clicked or typed | 1,000 | 25 |
| ``notices`` | notices to users with too many of these | 100 | 1 |
| ``ours`` | all else | 1,000 | |

So one user's work, for example while Slack accepts nothing, takes no other user's place. ``start`` returns
False when there is no place: the caller tells the user, or lets Slack send the event again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Literal

import structlog

log = structlog.get_logger(__name__)

Room = Literal["events", "clicks", "notices", "ours"]
Limits = Mapping[Room, tuple[int, int]]

LIMITS: Final[Limits] = {
    "events": (2_000, 1_000),
    "clicks": (1_000, 25),
    "notices": (100, 1),
    "ours": (1_000, 1_000),
}
"""Limits by room: the most tasks at once, and the most of one user."""


class Background:
    """Tasks that no one awaits. Nothing durable belongs here: a stop may cancel it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._count: Counter[tuple[Room, str | None]] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def has_place(self, room: Room, user: str = "") -> bool:
        """Return True if there is a place in the room, for this user as well."""
        most, most_of_one = self._limits[room]
        return self._count[room, None] < most and (not user or self._count[room, user] < most_of_one)

    def start(self, work: Coroutine[Any, Any, None], what: str, room: Room = "ours", user: str = "") -> bool:
        """Start ``work`` and return True; without a place drop it, log that, and return False.

        Errors in it are logged.
        """
        if not self.has_place(room, user):
            work.close()
            log.warning("background work dropped", what=what, room=room, running=self._count[room, None])
            return False
        task = asyncio.create_task(_logged(work, what), name=what)
        places: list[tuple[Room, str | None]] = [(room, None), *([(room, user)] if user else ())]
        self._count.update(places)
        # The loop keeps no strong reference to a task.
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, places))
        return True

    async def close(self, grace: float = 2) -> None:
        """Let tasks end within ``grace`` seconds, cancel the rest, and return when none is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        # A task may start another one before it ends.
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

    def _ended(self, task: asyncio.Task[None], places: list[tuple[Room, str | None]]) -> None:
        self._tasks.discard(task)
        for place in places:
            self._count[place] -= 1
            if not self._count[place]:
                # Users come and go.
                del self._count[place]


async def _logged(work: Coroutine[Any, Any, None], what: str) -> None:
    try:
        await work
    except Exception:
        log.exception("background work failed", what=what)

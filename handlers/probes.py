"""``GET /healthz``: the process is alive. ``GET /readyz``: broker, queues and database are well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from threadsync import AsyncSessionClient
from threadsync.errors import EnqueueFailed
from threadsync.liveness.verdicts import verdict_on_queue
from threadsync.queues import QUEUES

_FRESH_SECONDS: Final = 1.0
"""Time for which a result is reused, as each look costs connections to the broker and to Postgres."""

_Answer = tuple[int, dict[str, object]]


class Probes:
    """The handlers of both probes.

    Args:
        client: used for readiness alone, so that probes delay no command.
        database_answers: asks Postgres; None in a process that does not use it.
    """

    def __init__(
        self,
        client: AsyncSessionClient,
        database_answers: Callable[[], Awaitable[bool]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._database_answers = database_answers
        self._monotonic = monotonic
        self._look: asyncio.Task[_Answer] | None = None
        self._looked_at = 0.0

    async def health(self, request: Request) -> Response:
        """Return 200 as long as the event loop runs."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """Return 200, or 503 when broker or database is ``away`` or a queue is ``deaf``; within about 2 s.

        A queue is ``unwatched`` when no beat sends canaries; that alone is not a 503.
        All requests within a second share one look.
        """
        # Shielded: a client that hangs up must not cancel the look of the others.
        status, answer = await asyncio.shield(self._latest_look())
        return JSONResponse(answer, status_code=status)

    def _latest_look(self) -> asyncio.Task[_Answer]:
        now = self._monotonic()
        look = self._look
        if look is None or (look.done() and now - self._looked_at >= _FRESH_SECONDS):
            self._looked_at = now
            look = self._look = asyncio.create_task(self._take_look())
        return look

    async def _take_look(self) -> _Answer:
        (broker, queues, spoilt), database = await asyncio.gather(self._broker(), self._database())
        is_ready = "away" not in (broker, database) and "deaf" not in queues.values()
        answer: dict[str, object] = {"broker": broker, "database": database, "queues": queues}
        if spoilt:
            answer["unreadable_signs"] = spoilt
        return 200 if is_ready else 503, answer

    async def _broker(self) -> tuple[str, dict[str, str], int]:
        try:
            signs = await self._client.heartbeats()
        except EnqueueFailed:
            return "away", {}, 0
        if signs is None:
            # A broker that keeps no heartbeats has not been asked yet.
            return await self._ping(), {}, 0
        if signs.is_blind:
            return "away", {}, 0
        return "ok", {queue: verdict_on_queue(signs, queue).state for queue in QUEUES}, signs.unreadable

    async def _ping(self) -> str:
        try:
            await self._client.ping()
        except EnqueueFailed:
            return "away"
        return "ok"

    async def _database(self) -> str:
        if self._database_answers is None:
            return "not checked"
        return "ok" if await self._database_answers() else "away"

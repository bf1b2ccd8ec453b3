"""``GET /healthz``: the process lives. ``GET /readyz``: what it needs answers, and messages are taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from threadsync.client import AsyncSessionClient
from threadsync.errors import EnqueueFailed
from threadsync.liveness.verdicts import hearing_of_queue
from threadsync.queues import QUEUES
from worker.local.readiness import postgres_accepts

_FRESH_SECONDS: Final = 1.0
"""An answer is given again for so long: a look costs connections to the broker and to each database host."""

_Answer = tuple[int, dict[str, object]]


class Probes:
    """``database_url`` may be empty: a web process needs no database of its own, and then none is checked.

    Args:
        client: for readiness alone, so that its questions delay no command.
    """

    def __init__(
        self,
        client: AsyncSessionClient,
        database_url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._database_url = database_url
        self._monotonic = monotonic
        self._look: asyncio.Task[_Answer] | None = None
        self._looked_at = 0.0

    async def health(self, request: Request) -> Response:
        """200 as long as the event loop turns."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """200, or 503 when one of them is ``away`` or a queue is ``deaf``; within some 2 s.

        A queue is ``unwatched`` when nobody can tell, as no beat sends canaries; that alone is no 503.
        However many ask, one look a second is taken, and all who ask meanwhile get its answer.
        """
        # Shielded: one that hangs up must not take the answer from the others.
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
            signs = await self._client.signs()
        except EnqueueFailed:
            return "away", {}, 0
        if signs is None:
            # Its own channel's doing: any other broker was not asked yet.
            return await self._ping(), {}, 0
        if signs.is_blind:
            return "away", {}, 0
        return "ok", {queue: hearing_of_queue(signs, queue).state for queue in QUEUES}, signs.unreadable

    async def _ping(self) -> str:
        try:
            await self._client.ping()
        except EnqueueFailed:
            return "away"
        return "ok"

    async def _database(self) -> str:
        if not self._database_url:
            return "not checked"
        return "ok" if await postgres_accepts(self._database_url) else "away"

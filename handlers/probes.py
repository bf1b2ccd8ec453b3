"""``GET /healthz``: the process lives. ``GET /readyz``: what it needs answers, and messages are taken."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tasks.client import AsyncSessionClient
from worker.errors import EnqueueFailed
from worker.hearing import hearing_of_queue
from worker.readiness import postgres_accepts
from worker.signs import QUEUES


class Probes:
    """``database_url`` may be empty: a web process needs no database of its own, and then none is checked."""

    def __init__(self, client: AsyncSessionClient, database_url: str) -> None:
        self._client = client
        self._database_url = database_url

    async def health(self, request: Request) -> Response:
        """200 as long as the event loop turns."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """200, or 503 when one of them is ``away`` or a queue is ``deaf``; within some 2 s.

        A queue is ``unwatched`` when nobody can tell, as no beat sends canaries; that alone is no 503.
        """
        (broker, queues, spoilt), database = await asyncio.gather(self._broker(), self._database())
        is_ready = "away" not in (broker, database) and "deaf" not in queues.values()
        answer: dict[str, object] = {"broker": broker, "database": database, "queues": queues}
        if spoilt:
            answer["unreadable_signs"] = spoilt
        return JSONResponse(answer, status_code=200 if is_ready else 503)

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

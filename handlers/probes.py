"""``GET /healthz``: the process lives. ``GET /readyz``: what it depends on answers."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tasks.client import AsyncSessionClient
from worker.errors import EnqueueFailed
from worker.readiness import postgres_accepts


class Probes:
    """``database_url`` may be empty: a web process needs no database of its own, and then none is checked."""

    def __init__(self, client: AsyncSessionClient, database_url: str) -> None:
        self._client = client
        self._database_url = database_url

    async def health(self, request: Request) -> Response:
        """200 as long as the event loop turns."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """200, or 503 when one of them is ``away``; within some 2 s."""
        broker, database = await asyncio.gather(self._broker(), self._database())
        status = 503 if "away" in (broker, database) else 200
        return JSONResponse({"broker": broker, "database": database}, status_code=status)

    async def _broker(self) -> str:
        try:
            await self._client.ping()
        except EnqueueFailed:
            return "away"
        return "ok"

    async def _database(self) -> str:
        if not self._database_url:
            return "not checked"
        return "ok" if await postgres_accepts(self._database_url) else "away"

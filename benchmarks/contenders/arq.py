"""arq: one asyncio process a core; ten jobs at a time, results kept for an hour (its defaults).

Not its default: it reads up to 100 jobs each half second, so no process does more than 200 a second. Here it
looks each 10 ms. Its log is off.
https://arq-docs.helpmanual.io/
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import redis
from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.contender import AsyncContender
from benchmarks.threads import SlackThread
from benchmarks.upsert import upsert_async

_SERVER: Final = RedisSettings.from_dsn(os.environ["CELERY_BROKER_URL"])
QUIET: Final = {"version": 1, "disable_existing_loggers": False}


async def upsert_job(context: Any, channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    return await upsert_async(channel_id, thread_ts, user_id)


class WorkerSettings:
    """Settings of arq's worker, in the form that arq reads."""

    functions: ClassVar = [upsert_job]
    redis_settings = _SERVER
    poll_delay = 0.01


class Arq(AsyncContender):
    distribution = "arq"
    results_database = 0
    results_prefix = "arq:result:"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])
        self._pool: Any = None
        self._sent = 0

    def prepare(self) -> None:
        self._pool = self.loop.run(create_pool(_SERVER))

    def commands(self) -> Sequence[Sequence[str]]:
        settings = [f"{__name__}.WorkerSettings", "--custom-log-dict", f"{__name__}.QUIET"]
        return [[sys.executable, "-m", "arq", *settings]] * 2

    async def enqueue(self, thread: SlackThread) -> Any:
        self._sent += 1
        return await self._pool.enqueue_job("upsert_job", **thread._asdict())

    def key(self, handle: Any) -> str:
        return f"{self.results_prefix}{handle.job_id}"

    def done(self) -> int:
        # A job leaves the queue in the transaction that stores its result.
        return self._sent - int(self._broker.zcard("arq:queue"))

    async def result(self, handle: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await handle.result(timeout=10)
        return answer

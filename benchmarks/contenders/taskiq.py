"""Taskiq: a Redis stream with acknowledgements, as taskiq-redis recommends where work must not be lost.

Defaults: two processes, 100 tasks at a time in each, acknowledged once the result is saved.
https://github.com/taskiq-python/taskiq-redis
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.contender import AsyncContender
from benchmarks.threads import SlackThread
from benchmarks.upsert import upsert_async

broker = RedisStreamBroker(os.environ["CELERY_BROKER_URL"]).with_result_backend(
    RedisAsyncResultBackend(os.environ["CELERY_RESULT_BACKEND"], result_ex_time=3600)
)


@broker.task
async def upsert_task(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    return await upsert_async(channel_id, thread_ts, user_id)


class Taskiq(AsyncContender):
    distribution = "taskiq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._results = redis.Redis.from_url(os.environ["CELERY_RESULT_BACKEND"])

    @property
    def versions(self) -> str:
        return f"{super().versions}, taskiq-redis {version('taskiq-redis')}"

    def prepare(self) -> None:
        # Makes the consumer group: what is sent before there is one is never delivered.
        self.loop.run(broker.startup())

    def commands(self) -> Sequence[Sequence[str]]:
        options = ["--workers", "2", "--log-level", "WARNING"]
        return [[sys.executable, "-m", "taskiq", "worker", f"{__name__}:broker", *options]]

    async def enqueue(self, thread: SlackThread) -> Any:
        return await upsert_task.kiq(**thread._asdict())

    def key(self, handle: Any) -> str:
        return str(handle.task_id)

    def done(self) -> int:
        return int(self._results.dbsize())

    async def result(self, handle: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = (await handle.wait_result(timeout=10)).return_value
        return answer

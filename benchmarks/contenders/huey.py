"""Huey: Redis with results that expire; eight threads, which did as much here as eight processes.

A message is popped before it is worked on and never acknowledged.
What a worker has in hand is lost when it is killed.
https://huey.readthedocs.io/en/latest/consumer.html
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGINT
from typing import Any

import redis
from huey import RedisExpireHuey

from benchmarks.contender import SyncContender
from benchmarks.threads import SlackThread
from benchmarks.upsert import upsert

queue = RedisExpireHuey("bench", url=os.environ["CELERY_BROKER_URL"], expire_time=3600)


@queue.task()
def upsert_task(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    return upsert(channel_id, thread_ts, user_id)


class Huey(SyncContender):
    distribution = "huey"
    results_database = 0
    results_prefix = "huey.r.bench."
    stop_signal = SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])

    def commands(self) -> Sequence[Sequence[str]]:
        options = ["--worker-type", "thread", "--workers", "8", "--quiet"]
        return [[sys.executable, "-m", "huey.bin.huey_consumer", f"{__name__}.queue", *options]]

    def enqueue(self, thread: SlackThread) -> Any:
        return upsert_task(**thread._asdict())

    def key(self, handle: Any) -> str:
        return f"{self.results_prefix}{handle.id}"

    def done(self) -> int:
        # Nothing else is in this database but the queue, while it is not empty.
        with self._broker.pipeline(transaction=True) as pipe:
            pipe.dbsize()
            pipe.exists(queue.storage.queue_key)
            keys, queues = pipe.execute()
        return int(keys) - int(queues)

    def result(self, handle: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = handle(blocking=True, timeout=10)
        return answer

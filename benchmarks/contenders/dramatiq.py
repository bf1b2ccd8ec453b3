"""Dramatiq: Redis broker, its recommended result backend, default middleware.

Defaults: as many processes as cores, eight threads each. Acknowledged after the work.
https://dramatiq.io/guide.html
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.contender import SyncContender
from benchmarks.threads import SlackThread
from benchmarks.upsert import upsert

# Readable keys; by default they are hashes of the same.
results = RedisBackend(url=os.environ["CELERY_RESULT_BACKEND"], use_namespace_prefix_keys=True)
broker = RedisBroker(url=os.environ["CELERY_BROKER_URL"])
broker.add_middleware(Results(backend=results, result_ttl=3_600_000))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def upsert_task(channel_id: str, thread_ts: str, user_id: str) -> dict[str, Any]:
    """Open the thread's session."""
    return upsert(channel_id, thread_ts, user_id)


class Dramatiq(SyncContender):
    distribution = "dramatiq"
    results_prefix = "dramatiq-results:"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._results = redis.Redis.from_url(os.environ["CELERY_RESULT_BACKEND"])

    def commands(self) -> Sequence[Sequence[str]]:
        return [[sys.executable, "-m", "dramatiq", __name__, "--processes", "2"]]

    def enqueue(self, thread: SlackThread) -> Any:
        return upsert_task.send(**thread._asdict())

    def key(self, handle: Any) -> str:
        return str(results.build_message_key(handle))

    def done(self) -> int:
        return int(self._results.dbsize())

    def result(self, handle: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = handle.get_result(backend=results, block=True)
        return answer

"""An installation for tests: a database, a broker, and a stock Celery client that knows nothing of ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from celery import Celery
from celery.result import AsyncResult

from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.services import Process, start_service
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from threadsync.dead_letters import DeadLetter
from threadsync.sessions import ThreadSession
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import new_pool

WORKER_SETTINGS = {"SESSION_WAIT_SECONDS": "1"}

_COUNT = """#!lua flags=no-writes
local count = redis.call('HLEN', KEYS[1])
for place = 2, #KEYS, 2 do
  count = count + redis.call('LLEN', KEYS[place]) + redis.call('ZCARD', KEYS[place + 1])
end
return count
"""


class Installation:
    """A database, a broker and the processes that a test starts, with ``env`` as their environment."""

    queues: Sequence[str] = ("sessions",)
    """Those that ``waiting`` counts the messages of."""

    def __init__(
        self, database_url: str, broker_url: str, logs: Path, results_url: str | None = None
    ) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.logs = logs
        self.env = {
            **os.environ,
            **WORKER_SETTINGS,
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": broker_url,
        }
        # What anybody would write: https://docs.celeryq.dev/en/stable/userguide/calling.html
        self.celery = Celery(broker=broker_url, backend=results_url or broker_url, set_as_current=False)
        self._results: list[AsyncResult[Any]] = []

    def worker(self, name: str = "worker", *options: str, **env: str) -> WorkerGroup:
        """A worker that is not started yet."""
        return WorkerGroup({**self.env, **env}, self.logs / f"{name}.log", *options)

    def beat(self, **more: str) -> Process:
        """Beat, as README starts it; it runs until it is killed."""
        arguments = ["-A", "worker", "beat", "--pidfile=", "--schedule", str(self.logs / "beat")]
        log = self.logs / "beat.log"
        return start_service("celery", *arguments, log_path=log, env={**self.env, **more}, cwd=self.logs)

    def send(self, task: str, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Send as a stock client does, to the queue of the contract."""
        return self._sent(self.celery.send_task(task, args=args, kwargs=kwargs, queue="sessions"))

    def send_for(self, eta: datetime, task: str, *args: Any) -> AsyncResult[Any]:
        """Send what is due at a time of its own."""
        return self._sent(self.celery.send_task(task, args=args, queue="sessions", eta=eta))

    def send_expiring(self, expires: datetime, task: str, *args: Any) -> AsyncResult[Any]:
        """Send what is of no use after a time."""
        return self._sent(self.celery.send_task(task, args=args, queue="sessions", expires=expires))

    def send_later(
        self, seconds: int, task_id: str, task: str, *args: Any, **kwargs: Any
    ) -> AsyncResult[Any]:
        """Send what is due in so many seconds, under an id of the test's."""
        options: dict[str, Any] = {"queue": "sessions", "countdown": seconds, "task_id": task_id}
        return self._sent(self.celery.send_task(task, args=args, kwargs=kwargs, **options))

    def _sent(self, result: AsyncResult[Any]) -> AsyncResult[Any]:
        self._results.append(result)
        return result

    def publish(self, body: bytes, **headers: Any) -> None:
        """Send what no Celery client would."""
        with self.celery.connection_for_write() as connection:
            connection.Producer().publish(
                body,
                exchange="",
                routing_key="sessions",
                content_type="application/json",
                content_encoding="utf-8",
                headers=headers,
            )

    def waiting(self) -> int:
        """Messages in the queues, in workers, and those whose time has not come."""
        keys = [key for queue in self.queues for key in (queue, f"threadsync.waiting:{queue}")]
        # One script: what goes from one to another in between would be in neither, or in both.
        with redis.Redis.from_url(self.broker_url) as client:
            return int(client.eval(_COUNT, len(keys) + 1, "unacked", *keys))

    def sessions(self) -> list[ThreadSession]:
        """All rows."""
        with psycopg.connect(self.database_url, row_factory=psycopg.rows.dict_row) as connection:
            rows = connection.execute("SELECT * FROM thread_sessions").fetchall()
        return [ThreadSession.model_validate(row) for row in rows]

    def dead_letters(self) -> list[DeadLetter]:
        """All that are not settled."""
        with new_pool(self.database_url) as pool:
            return DeadLetterStore(pool).list_by_state("dead", limit=1000)

    def dead_letter(self, where: Callable[[DeadLetter], bool], timeout: float = 10) -> DeadLetter:
        """The one that ``where`` is true of, once it is there."""
        wait_until(lambda: any(map(where, self.dead_letters())), "the dead letter is there", timeout)
        (letter,) = filter(where, self.dead_letters())
        return letter

    def deaths(self) -> list[tuple[str, int]]:
        """Return each suspect message with the number of deaths that is recorded for it."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute("SELECT task_id, deaths FROM redeliveries").fetchall()

    def close(self) -> None:
        for result in self._results:
            # Its __del__ would look for the broker, which may be gone by then.
            result.backend = None  # type: ignore[assignment]
            found: Any = result
            for child in (found._cache or {}).get("children") or ():
                child.backend = None
        # Celery leaves these connections to the garbage collector, which may find the socket first and warn.
        backend: Any = self.celery.backend
        backend.result_consumer.stop()
        backend.client.connection_pool.disconnect()
        self.celery.close()


@contextmanager
def install(postgres: PostgresForTests, valkey: ValkeyForTests, logs: Path) -> Iterator[Installation]:
    """An empty one, gone afterwards."""
    with postgres.database() as database_url:
        installation = Installation(database_url, valkey.broker(), logs)
        try:
            yield installation
        finally:
            installation.close()

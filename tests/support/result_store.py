"""Results as a worker stores them, and clients that wait for them in threads and in asyncio."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until
from threadsync.sending import Broker

How = Literal["threads", "asyncio"]
Found = tuple[bool, Any]


class Store:
    """The worker's side: it stores results in a database of the server, and publishes them."""

    def __init__(self, server: RedisServer, prefix: str = "") -> None:
        self.client: Any = server.client()
        self._prefix = f"{prefix}celery-task-meta-"

    def put(self, task_id: str, result: Any, status: str = "SUCCESS", *, is_published: bool = True) -> None:
        """Store a result and publish it."""
        record = json.dumps({"status": status, "result": result})
        pipe = self.client.pipeline(transaction=False)
        pipe.set(self._prefix + task_id, record)
        if is_published:
            pipe.publish(self._prefix + task_id, record)
        pipe.execute()

    def publish(self, task_id: str, payload: bytes) -> None:
        """Publish what is not stored."""
        self.client.publish(self._prefix + task_id, payload)

    def heard(self) -> set[str]:
        """Return the ids that somebody is subscribed to."""
        channels = self.client.pubsub_channels(f"{self._prefix}*")
        return {channel.removeprefix(self._prefix) for channel in channels}

    def wait_until_heard(self, *task_ids: str) -> None:
        """Return when somebody is subscribed to these and no others."""
        wait_until(lambda: self.heard() == set(task_ids), f"{len(task_ids)} are subscribed to", 20)

    def subscribers(self) -> list[str]:
        """Return the ids of connections that are subscribed to anything."""
        return [client["id"] for client in self.client.client_list() if client["sub"] != "0"]

    def close(self) -> None:
        self.client.close()


class Waiters:
    """Waits for results, each in a thread or as a task of one loop that runs in a thread."""

    def __init__(self, how: How) -> None:
        self.how = how
        self._pool = ThreadPoolExecutor(64)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def wait(self, broker: Broker, task_id: str, seconds: float = 20) -> Future[Found]:
        """Begin to wait for a result."""
        if self.how == "threads":
            return self._pool.submit(broker.result_within, task_id, seconds)
        return self.run(broker.result_within_async(task_id, seconds))

    def run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown()

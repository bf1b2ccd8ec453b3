"""threadsync as shipped: the worker as README starts it, with our client, or with a stock client.

The worker logs a line a command, as it does by default; the others are told to be quiet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.contender import Sent
from benchmarks.contenders.stock_celery import StockCelery
from benchmarks.threads import SlackThread
from threadsync import AsyncSessionClient, GetOrCreate, SessionClient
from threadsync.handles import Handle

_AT_ONCE: Final = 16
_IN_ONE_CALL: Final = 1_000


class ThreadsyncByStockClient(StockCelery):
    """threadsync with commands of a stock Celery client."""

    distribution = "threadsync"
    task = "sessions.get_or_create"

    def _program(self) -> Sequence[str]:
        return "worker.cli", "worker"


class Threadsync(ThreadsyncByStockClient):
    """threadsync with our client, which waits no longer than Slack does, and sends an event for Flower."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sessions = SessionClient()

    @property
    def versions(self) -> str:
        return f"threadsync {version('threadsync')}, celery {version('celery')}, kombu {version('kombu')}"

    def enqueue(self, thread: SlackThread) -> Handle[Any]:
        return self._sessions.get_or_create(*thread)

    def ask(self, thread: SlackThread) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.enqueue(thread).get().model_dump(mode="json")
        return answer

    def task_id(self, handle: Any) -> str:
        return str(handle.task_id)


class ThreadsyncAtOnce(Threadsync):
    """threadsync with our client for asyncio: 16 sends at once, as fast as it can, without a pace."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._loop = asyncio.Runner()
        self._at_once = AsyncSessionClient()

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        return self._loop.run(self._send(threads))

    async def _send(self, threads: Sequence[SlackThread]) -> list[Sent]:
        sent: list[Sent] = []
        for chunk in _chunks(threads, _AT_ONCE):
            due = time.monotonic()
            handles = await asyncio.gather(*(self._at_once.get_or_create(*thread) for thread in chunk))
            sent += [Sent(self.key(handle), due, time.monotonic()) for handle in handles]
        return sent


class ThreadsyncInOneCall(Threadsync):
    """threadsync with our client, a thousand commands in a call, as fast as it can, without a pace."""

    def send(self, threads: Sequence[SlackThread], pace: float | None = None) -> list[Sent]:
        sent: list[Sent] = []
        # mypy: there are versions without the method.
        client: Any = self._sessions
        for chunk in _chunks(threads, _IN_ONE_CALL):
            due = time.monotonic()
            handles = client.send_many([GetOrCreate(**thread._asdict()) for thread in chunk])
            sent += [Sent(self.key(handle), due, time.monotonic()) for handle in handles]
        return sent


def _chunks(threads: Sequence[SlackThread], size: int) -> Iterator[Sequence[SlackThread]]:
    return (threads[start : start + size] for start in range(0, len(threads), size))

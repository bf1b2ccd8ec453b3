"""threadsync as shipped: the worker as README starts it, with our client, or with a stock client.

The worker logs a line a command, as it does by default; the others are told to be quiet.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contenders.stock_celery import StockCelery
from benchmarks.threads import SlackThread
from threadsync import SessionClient
from threadsync.handles import Handle


class ThreadsyncByStockClient(StockCelery):
    """threadsync with commands of a stock Celery client."""

    distribution = "threadsync"
    module = "worker"
    task = "sessions.get_or_create"


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

    def task_id(self, handle: Handle[Any]) -> str:
        return handle.task_id

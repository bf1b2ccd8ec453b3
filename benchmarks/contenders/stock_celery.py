"""Base of the contenders on Celery: stock Celery with our worker's settings."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import redis
from celery import Celery

from benchmarks.contender import SETTINGS, SyncContender
from benchmarks.threads import SlackThread


def stock_app(name: str) -> Celery:
    """Make an app with our worker's settings (late acknowledgement, events, limits), without our code."""
    app = Celery(name)
    app.conf.update(ast.literal_eval(os.environ[SETTINGS]))
    return app


class StockCelery(SyncContender):
    """Contender with Celery's worker command line and Celery's ``send_task``.

    The client that only sends has no result backend: with one, each call would first subscribe to its
    result's channel, which is never read then. (Not by a setting: Celery prefers ``CELERY_RESULT_BACKEND``.)
    """

    distribution = "celery"
    results_prefix = "celery-task-meta-"
    module: ClassVar[str]
    task: ClassVar[str]
    queue: ClassVar[str] = "sessions"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        broker, results = os.environ["CELERY_BROKER_URL"], os.environ["CELERY_RESULT_BACKEND"]
        self._client = Celery("client", broker=broker, set_as_current=False)
        self._client.backend_cls = "disabled://"
        self._asker = Celery("asker", broker=broker, backend=results, set_as_current=False)
        self._results = redis.Redis.from_url(results)

    def commands(self) -> Sequence[Sequence[str]]:
        # By default as many processes as cores. To meet other workers would cost a second at the start.
        return [
            [
                sys.executable,
                "-m",
                *self._program(),
                "--queues",
                self.queue,
                "--without-mingle",
                "--without-gossip",
            ]
        ]

    def _program(self) -> Sequence[str]:
        return "celery", "-A", self.module, "worker"

    def enqueue(self, thread: SlackThread) -> Any:
        return self._client.send_task(self.task, kwargs=thread._asdict(), queue=self.queue)

    def key(self, handle: Any) -> str:
        return f"{self.results_prefix}{self.task_id(handle)}"

    def task_id(self, handle: Any) -> str:
        """Return the id by which Celery knows the command."""
        return str(handle.id)

    def done(self) -> int:
        return int(self._results.dbsize())

    def ask(self, thread: SlackThread) -> Mapping[str, Any]:
        return self.result(self._asker.send_task(self.task, kwargs=thread._asdict(), queue=self.queue))

    def result(self, handle: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = handle.get(timeout=10)
        return answer

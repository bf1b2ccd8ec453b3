"""Procrastinate: the queue is in Postgres, in the same server as the sessions. It keeps no results.

One asyncio process a core, 30 jobs at a time in each (its default is one); 10 to 200 made no difference here.
https://procrastinate.readthedocs.io/en/stable/howto/basics/worker.html
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks.contender import SyncContender
from benchmarks.threads import SlackThread
from benchmarks.upsert import upsert_async

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]), import_paths=[__name__])


@app.task(name="upsert")
async def upsert_task(channel_id: str, thread_ts: str, user_id: str) -> None:
    """Open the thread's session."""
    await upsert_async(channel_id, thread_ts, user_id)


class Procrastinate(SyncContender):
    distribution = "procrastinate"
    results_database = None
    # Counting jobs reads them.
    poll_seconds = 0.1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._database = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

    def prepare(self) -> None:
        app.open()
        app.schema_manager.apply_schema()

    def commands(self) -> Sequence[Sequence[str]]:
        options = ["--log-level", "warning", "--app", f"{__name__}.app", "worker", "--concurrency", "30"]
        return [[sys.executable, "-m", "procrastinate", *options]] * 2

    def enqueue(self, thread: SlackThread) -> Any:
        return upsert_task.defer(**thread._asdict())

    def key(self, handle: Any) -> str:
        return str(handle)

    def done(self) -> int:
        count = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        row = self._database.execute(count).fetchone()
        return int(row[0]) if row else 0

    def result(self, handle: Any) -> Mapping[str, Any]:
        raise NotImplementedError("it keeps no results")

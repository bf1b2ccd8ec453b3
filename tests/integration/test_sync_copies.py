"""Copies of sync commands that must wait, whatever arguments a newer producer added."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import redis

from tests.support.installation import Installation
from tests.support.relay import Relay
from tests.support.waiting import wait_until

TASKS = ("syncs.sync", "syncs.retry")


def test_an_unknown_name_is_no_reason_to_run_at_once_for_ever(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    """A sync command with an unknown argument waits for Postgres as a copy instead of being redelivered."""
    parts = urlsplit(database_url)
    with Relay(parts.port or 0) as relay:
        url = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{relay.port}").geturl()
        installation = Installation(url, broker_url, tmp_path)
        worker = installation.worker("syncs", "-Q", "syncs").start()
    # The relay is closed, so Postgres is away for the worker.
    with closing(installation), redis.Redis.from_url(broker_url) as broker:
        try:
            arguments = {"session_id": str(uuid4()), "actor": "U1", "reason": "it is time", "of_tomorrow": 1}
            for task in TASKS:
                result = installation.celery.send_task(task, kwargs=arguments, queue="syncs")
                result.backend = None  # type: ignore[assignment]  # its __del__ would look for the broker
            wait_until(
                lambda: all(_waits(worker.log, task) >= 2 for task in TASKS), "each has waited twice", 30
            )
            assert "task delivered again" not in worker.log
            assert broker.hlen("unacked_deliveries") == 0
        finally:
            worker.kill()


def _waits(log: str, task: str) -> int:
    return sum("task waits" in line and f"task={task}" in line for line in log.splitlines())

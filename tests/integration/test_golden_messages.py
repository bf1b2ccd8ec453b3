"""Messages and results of every release, readable by today's worker and client.

`tests/golden/capture.py` makes the files. A release adds its own, and none is ever changed.
The other direction, an older worker and a newer message, is `test_fields_of_a_newer_producer_are_ignored`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from tasks.announcements import ANNOUNCE
from tests.golden.capture import effects, seed
from tests.support.documents import ROOT
from tests.support.installation import install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync.command import Command
from threadsync.errors import ThreadsyncError
from threadsync.lookup_commands import LinkLookup
from threadsync.sending import Broker
from threadsync.sync_commands import RetrySync, Sync
from worker.db.sessions.statements import COMMANDS
from worker.durable.beat import SWEEP_TASK

NOT_RELEASED: Final = {"channels.moved", "sessions.link", "sessions.unlink", "jira.link"}
"""Tasks that the newest release does not have."""

RELEASES: Final = sorted(ROOT.glob("tests/golden/messages/*.json"))
_ALL: Final[tuple[type[Command[Any]], ...]] = (*COMMANDS, LinkLookup, Sync, RetrySync)
READERS: Final = {command.name: command.result for command in _ALL}
QUEUES: Final = "sessions,syncs,maintenance"
release_file = pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)


def names(result: Any) -> set[str]:
    """Return the names of a result's fields; values may depend on the order, so rows are compared instead."""
    return set(result) if isinstance(result, dict) else set()


def young_again(entry: str) -> str:
    """Return the message with a new expiry, if it has one."""
    message = json.loads(entry)
    if message["headers"].get("expires"):
        message["headers"]["expires"] = time.strftime(
            "%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 60)
        )
        return json.dumps(message)
    return entry


@release_file
def test_todays_worker_runs_yesterdays_messages(
    path: Path, postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """Messages of a release, put into the queues byte for byte, have the same effects and results today."""
    golden = json.loads(path.read_text())
    with install(postgres, valkey, tmp_path) as installation:
        seed(installation.database_url)
        with redis.Redis.from_url(installation.broker_url, decode_responses=True) as broker:
            for message in golden["messages"]:
                queue = json.loads(message["entry"])["properties"]["delivery_info"]["routing_key"]
                broker.lpush(queue, young_again(message["entry"]))
            awaited = {m["task_id"]: m["result"] for m in golden["messages"] if m["result"]}

            def stored(task_id: str) -> dict[str, Any]:
                found: dict[str, Any] = json.loads(str(broker.get(f"celery-task-meta-{task_id}") or "{}"))
                return found

            with installation.worker("golden", "--queues", QUEUES):
                wait_until(
                    lambda: (
                        all(stored(task_id).get("status") in ("SUCCESS", "FAILURE") for task_id in awaited)
                        and not broker.exists("unacked", *QUEUES.split(","))
                    ),
                    "every message has ended",
                    30,
                )
            for task_id, then in awaited.items():
                now = stored(task_id)
                assert now["status"] == then["status"]
                assert names(now["result"]) >= names(then["result"])
                if then["status"] == "FAILURE":
                    assert now["result"] == {**then["result"], "exc_module": "threadsync.errors"}
        assert effects(installation.database_url) == golden["effects"]


@release_file
def test_todays_client_reads_yesterdays_results(path: Path, broker_url: str) -> None:
    """The client reads the results that workers of each release stored."""
    broker = Broker(broker_url)
    with redis.Redis.from_url(broker_url) as backend:
        for message in json.loads(path.read_text())["messages"]:
            if message["result"]:
                backend.set(f"celery-task-meta-{message['task_id']}", json.dumps(message["result"]))
                then = message["result"]
                if then["status"] == "FAILURE":
                    with pytest.raises(ThreadsyncError) as failed:
                        broker.result_of(message["task_id"])
                    assert failed.typename == then["result"]["exc_type"]
                else:
                    ready, value = broker.result_of(message["task_id"])
                    assert ready
                    READERS[message["task"]].validate_python(value)
    broker.close()


def test_every_task_of_ours_is_among_them() -> None:
    """Every task has a golden message in the newest release, or is listed as younger."""
    newest = json.loads(RELEASES[-1].read_text())
    released = {message["task"] for message in newest["messages"]}
    assert released | NOT_RELEASED == {*READERS, ANNOUNCE, SWEEP_TASK}
    assert not released & NOT_RELEASED

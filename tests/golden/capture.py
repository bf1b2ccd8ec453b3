"""Write down a release's messages as they lie in the broker, and the results that its worker stores for them.

Run it once for each release, in a checkout of the release; this file may lie anywhere:

    PYTHONPATH=<the release> python capture.py <version> > tests/golden/messages/<version>.json

Only names that every release has are used: clients, the app, the embedded servers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.support.waiting import wait_until
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

QUEUES = ("sessions", "syncs", "maintenance")
SYNCED = "0190cb6e-0000-7000-8000-00000000000a"
"""A session that was asked for a ticket. The test makes it too: messages of the worker carry its id."""

COMMAND_ID = "0190cb6e-0000-7000-8000-000000000001"
EFFECTS = {
    "thread_sessions": "SELECT channel_id, thread_ts, user_id, status, jira_key"
    " FROM thread_sessions ORDER BY channel_id, thread_ts",
    "channel_context": "SELECT channel_id, context_data, version FROM channel_context ORDER BY 1",
    "syncs": "SELECT draft, drafted_at::text, state, reason FROM syncs",
    "dead_letters": "SELECT task_name, error_type FROM dead_letters ORDER BY 1, 2",
}
DRAFT = {"summary": "It is broken", "description": "It fell down.", "labels": ["from-slack"]}


def send(broker_url: str) -> None:
    """Send each kind of message by our client and by a stock one; each sender has threads of its own."""
    from celery import Celery

    from threadsync import SessionClient
    from threadsync.sync_commands import Sync
    from worker.celery import app as ours

    client = SessionClient(broker_url)
    client.get_or_create("C1", "1.000100", "U1")
    client.get_or_create("C1", "2.000100", "U1")
    client.update_status("C1", "1.000100", "ready_to_sync")
    client.mark_synced("C1", "1.000100", "PROJ-1")
    client.request_sync("C1", "2.000100", DRAFT, "1700000000.000200")
    client.get("C1", "9.000100")
    client.list_by_channel("C7", limit=5)
    client.get_context("C7")
    client.merge_context("C1", {"lang": "de"}, COMMAND_ID)
    client.mark_synced("C1", "9.000100", "PROJ-9")
    client.enqueue(Sync(session_id=SYNCED))
    client.retry_sync(SYNCED, actor="ann", reason="a new token")

    stock = Celery(broker=broker_url, backend=broker_url, set_as_current=False)
    thread = {"channel_id": "C2", "thread_ts": "1.000100"}
    stock.send_task("sessions.get_or_create", kwargs={**thread, "user_id": "U1"}, queue="sessions")
    stock.send_task("sessions.get_or_create", args=["C2", "2.000100", "U1"], queue="sessions")
    stock.send_task("sessions.update_status", kwargs={**thread, "status": "ready_to_sync"}, queue="sessions")
    stock.send_task("sessions.mark_synced", kwargs={**thread, "jira_key": "PROJ-2"}, queue="sessions")

    ours.send_task("syncs.announce", kwargs={"session_id": SYNCED}, queue="maintenance", ignore_result=True)
    sweep = next(entry for entry in ours.conf.beat_schedule.values() if entry["task"] == "syncs.sweep")
    ours.send_task(sweep["task"], ignore_result=True, **sweep.get("options", {}))


def seed(database_url: str) -> None:
    """Insert the rows that the messages are about."""
    from worker.db.migrate import migrate

    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection)
        connection.execute(
            "INSERT INTO thread_sessions (id, channel_id, thread_ts, user_id, status)"
            " VALUES (%s, 'C3', '1.000100', 'U1', 'ready_to_sync')",
            [SYNCED],
        )
        connection.execute(
            "INSERT INTO syncs (session_id, draft, drafted_at) VALUES (%s, %s, 1700000000.0002)",
            [SYNCED, json.dumps(DRAFT)],
        )


def results(broker: Any, expected: list[str], folder: Path) -> dict[str, Any]:
    """Run the release's worker; return its stored result for each task id."""
    log_path = folder / "worker.log"
    argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "-Q", ",".join(QUEUES), "-c", "2"]

    def stored(task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads(broker.get(f"celery-task-meta-{task_id}") or "{}")
        # A traceback names paths of the machine.
        return {**meta, "traceback": None}

    def has_ended() -> bool:
        ended = all(stored(task_id).get("status") in ("SUCCESS", "FAILURE") for task_id in expected)
        return ended and not broker.exists("unacked", *QUEUES)

    with log_path.open("w") as log:
        worker = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
        try:
            wait_until(has_ended, "every message has ended", 60)
        finally:
            worker.terminate()
            worker.wait(60)
    return {task_id: stored(task_id) for task_id in expected}


def effects(database_url: str) -> dict[str, list[Any]]:
    """Return the contents of the tables at the end, without ids and times."""
    with psycopg.connect(database_url) as connection:
        return {
            table: [list(row) for row in connection.execute(statement).fetchall()]
            for table, statement in EFFECTS.items()
        }


def main(release: str) -> None:
    """Print the release's messages, results and rows as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        postgres, valkey = EmbeddedPostgres(folder / "postgres"), EmbeddedValkey(folder / "valkey")
        postgres.start()
        valkey.start()
        try:
            settings = {"DATABASE_URL": postgres.url, "CELERY_BROKER_URL": valkey.url}
            os.environ.update(settings, SESSION_WAIT_SECONDS="1", PYTHONDONTWRITEBYTECODE="1")
            seed(postgres.url)
            send(valkey.url)
            with redis.Redis.from_url(valkey.url, decode_responses=True) as broker:
                entries = [entry for queue in QUEUES for entry in reversed(broker.lrange(queue, 0, -1))]
                headers = [json.loads(entry)["headers"] for entry in entries]
                awaited = [h["id"] for h in headers if not h.get("ignore_result")]
                stored = results(broker, awaited, folder)
            rows = effects(postgres.url)
        finally:
            valkey.stop()
            postgres.stop()
    messages = [
        {"task": h["task"], "task_id": h["id"], "entry": entry, "result": stored.get(h["id"])}
        for entry, h in zip(entries, headers, strict=True)
    ]
    print(json.dumps({"release": release, "messages": messages, "effects": rows}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])

"""Suspects of every kind in a worker with one process whose connection drops (ADR 15)."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.support.deadly_message import deadly
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from worker.local.servers.valkey import EmbeddedValkey

ONE_PROCESS = ("--concurrency", "1")


def make_suspects(url: str) -> None:
    """Mark all waiting messages as delivered twice before."""
    with redis.Redis.from_url(url) as server:
        for raw in server.lrange("sessions", 0, -1):
            server.hset("unacked_deliveries", json.loads(raw)["properties"]["delivery_tag"], "2")


def opened(installation: Installation) -> int:
    with psycopg.connect(installation.database_url) as connection:
        rows = connection.execute("SELECT 1 FROM redeliveries WHERE opened_at IS NOT NULL").fetchall()
    return len(rows)


def test_whatever_they_are_the_worker_goes_on(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """Suspects of every kind end as they must, although the connection drops, and free the one process."""
    diaries = [tmp_path / name for name in ("deadly", "soon", "dies once")]
    now = datetime.now(UTC)
    with closing(Installation(database_url, own_valkey.url, tmp_path)) as installation:
        with redis.Redis.from_url(own_valkey.url) as administrator:
            administrator.lpush("sessions", deadly(diaries[0]))
            expired: Any = installation.celery.send_task(
                "sessions.get", queue="sessions", expires=now - timedelta(hours=1)
            )
            expired.backend = None
            installation.publish(b"[]", task="no.such.task", id="unknown")
            later = installation.send_for(now + timedelta(hours=1), "probe.take", str(diaries[1]), 0.0)
            soon = installation.send_for(now + timedelta(seconds=4), "probe.take", str(diaries[1]), 0.0)
            once = installation.send("probe.kill_child", str(diaries[2]), 1)
            session = installation.send(
                "sessions.get_or_create", channel_id="C1", thread_ts="1.1", user_id="U1"
            )
            make_suspects(own_valkey.url)
            with installation.worker("worker", *ONE_PROCESS) as worker:
                wait_until(lambda: diaries[0].exists(), "it has begun")
                administrator.client_kill_filter(_type="normal", skipme=True)
                assert session.get(timeout=30)["outcome"] in {"created", "unchanged"}
                assert once.get(timeout=30) == "survived"
                assert soon.get(timeout=30) == "ended"
                wait_until(lambda: len(installation.dead_letters()) == 2, "two are dead letters", 60)
                wait_until(lambda: installation.waiting() == 1, "one waits", 60)
                assert installation.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=20)
                wait_until(lambda: opened(installation) == 0, "no record is open")
                assert installation.deaths() == [(later.id, 0)]
                assert worker.is_alive
        letters = {letter.task_id: letter.error_type for letter in installation.dead_letters()}
        assert letters == {"deadly-1": "PoisonCommand", "unknown": "CommandFailed"}


def test_a_stop_is_no_death(installation: Installation, tmp_path: Path) -> None:
    """A stopping worker returns an opened message without an open record or a counted death."""
    diary = tmp_path / "diary"
    with installation.worker("first", *ONE_PROCESS, REMOTE_CONTROL_CHANGES="true") as worker:
        # The consumer is cancelled until the message is sent and marked as a suspect.
        installation.celery.control.cancel_consumer("sessions", reply=True, timeout=5, limit=1)
        due = datetime.now(UTC) + timedelta(seconds=4.5)
        result = installation.send_for(due, "probe.take", str(diary), 0.0)
        make_suspects(installation.broker_url)
        installation.celery.control.add_consumer("sessions", reply=True, timeout=5, limit=1)
        wait_until(lambda: opened(installation) == 1 or diary.exists(), "it is opened")
        worker.stop()
    assert opened(installation) == 0
    with installation.worker("second", *ONE_PROCESS):
        assert result.get(timeout=20) == "ended"
        wait_until(lambda: installation.deaths() == [], "no death was counted")


def test_what_is_revoked_or_expires_leaves_no_record(installation: Installation, tmp_path: Path) -> None:
    """A suspect that is revoked or has expired, at arrival, while it waits or runs, leaves no record."""
    control = installation.celery.control
    diaries = [tmp_path / f"diary{number}" for number in range(4)]
    with installation.worker("worker", *ONE_PROCESS, REMOTE_CONTROL_CHANGES="true") as worker:
        # The consumer is cancelled until the messages are sent and marked as suspects.
        control.cancel_consumer("sessions", reply=True, timeout=5, limit=1)
        soon = datetime.now(UTC) + timedelta(seconds=4)
        sent = [
            installation.send("probe.take", str(diaries[0]), 0.0),
            installation.send_for(soon, "probe.take", str(diaries[1]), 0.0),
            installation.send_expiring(soon - timedelta(hours=1), "probe.take", str(diaries[2]), 0.0),
            installation.send("probe.take", str(diaries[3]), 30.0),
        ]
        control.revoke(sent[0].id)
        wait_until(lambda: f"flagged as revoked: {sent[0].id}" in worker.log, "it knows")
        make_suspects(installation.broker_url)
        control.add_consumer("sessions", reply=True, timeout=5, limit=1)
        wait_until(lambda: worker.log.count("is opened alone") >= 2, "it has the second one", 20)
        control.revoke(sent[1].id)
        wait_until(lambda: diaries[3].exists(), "the last one runs", 20)
        control.revoke(sent[3].id, terminate=True)
        wait_until(lambda: installation.waiting() == 0, "all have ended", 30)
        wait_until(lambda: installation.deaths() == [], "none has a record")
        assert installation.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=20) is None
    assert [diaries[0].exists(), diaries[2].exists()] == [False, False]
    assert installation.dead_letters() == []

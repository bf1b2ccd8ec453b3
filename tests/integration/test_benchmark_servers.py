"""Parts of a benchmark on real servers: what it measures is there. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import redis

from benchmarks.entries import OURS, SENDERS
from benchmarks.replicas import replica_of
from benchmarks.sending import Turns, is_there
from benchmarks.stage import SESSIONS, Installation
from benchmarks.threads import INSERT_THREADS
from worker.local.servers.valkey import EmbeddedValkey

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(database_url: str, broker_url: str) -> Installation:
    return Installation(database_url, broker_url, broker_url, SESSIONS, servers={})


def test_scans_of_the_table_are_counted(installation: Installation) -> None:
    """A statement that reads the whole table counts, one that finds its row by an index does not."""
    with psycopg.connect(installation.database_url, autocommit=True) as connection:
        connection.execute(INSERT_THREADS, [SESSIONS])
        connection.execute("VACUUM ANALYZE thread_sessions")
    assert installation.table_scans() == 0
    with psycopg.connect(installation.database_url, autocommit=True) as connection:
        connection.execute("SELECT FROM thread_sessions WHERE channel_id = 'C1' AND thread_ts = '1.000001'")
        connection.execute("SELECT FROM thread_sessions WHERE user_id = 'nobody'")
    assert installation.table_scans() == 1
    assert installation.count_sessions() == 0


def test_clients_send_in_turns(installation: Installation, tmp_path: Path) -> None:
    """Every way of sending of ours, and stock Celery's, brings its messages to the queue."""
    senders = [sender for sender in SENDERS if sender.environment is None and is_there(sender)]
    turns = Turns(senders, installation, tmp_path)
    turns.run(3)
    assert turns.faults == {}
    assert all(turns.rate(sender) > 0 for sender in senders)


def test_a_client_that_loses_messages_is_at_fault(installation: Installation, tmp_path: Path) -> None:
    """A client whose messages are not in the queue is at fault, and has no more turns."""
    turns = Turns([OURS], installation, tmp_path, queue="another")
    turns.run(3)
    assert turns.faults == {OURS.name: "0 of 3 messages are in the queue"}


def test_a_replica_follows(tmp_path: Path) -> None:
    """A write reaches the replica while the block lasts, and none is there afterwards."""
    master = EmbeddedValkey(tmp_path / "master")
    master.start()
    try:
        with redis.Redis.from_url(master.url) as client:
            with replica_of(master, tmp_path / "replica", {"appendfsync": "everysec"}):
                client.set("seen", "1")
                assert client.wait(1, 4_000) == 1
            assert client.wait(1, 100) == 0
    finally:
        master.stop()

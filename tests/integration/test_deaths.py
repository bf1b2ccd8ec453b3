"""Counts of deaths instead of deliveries (ADR 15), with real messages and real processes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
import redis

from tests.support.deadly_message import ID, TAG, deadly
from tests.support.installation import Installation
from tests.support.transport_peer import DURABLE, Peer, sweep
from tests.support.waiting import wait_until


def counted(database_url: str) -> int:
    """Return the number of records of suspects."""
    with psycopg.connect(database_url) as connection:
        (number,) = connection.execute("SELECT count(*) FROM redeliveries").fetchone() or (-1,)
    return int(number)


def test_what_kills_the_process_that_opens_it_is_a_dead_letter(shared: Installation, tmp_path: Path) -> None:
    """A message that kills each process that opens it is a dead letter in the end; other commands succeed."""
    diary = tmp_path / "diary"
    raw = deadly(diary)
    with redis.Redis.from_url(shared.broker_url) as broker:
        broker.hset("unacked_deliveries", TAG, 2)
        broker.lpush("sessions", raw)
    wait_until(lambda: diary.exists(), "it is opened")
    answers = 0
    while not shared.dead_letters():
        assert shared.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None
        answers += 1
    assert answers
    letter = shared.dead_letter(lambda letter: letter.task_id == ID)
    assert (letter.error_type, letter.attempts, letter.body) == ("PoisonCommand", 5, raw.encode())
    wait_until(lambda: shared.waiting() == 0, "nothing is left in the broker")
    died = diary.read_text().split()
    assert len(died) == len(set(died)) == 5
    assert counted(shared.database_url) == 0


def test_what_was_prefetched_by_six_dead_workers_is_run(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    """Messages that six dead workers had prefetched are run without a counted death or a dead letter."""
    with closing(Installation(database_url, broker_url, tmp_path)) as installation:
        results = [
            installation.send("sessions.get_or_create", channel_id="C1", thread_ts=f"{n}.1", user_id="U1")
            for n in range(20)
        ]
        for _ in range(6):
            # A peer that consumes no queue restores no messages.
            peer, finder = Peer(broker_url, DURABLE, "sessions"), Peer(broker_url, DURABLE, "idle")
            # Looked at as they come, since messages to be opened alone stay sealed.
            wait_until(lambda peer=peer: peer.look() and len(peer.got) == 20, "it has all")  # type: ignore[misc]
            peer.vanish()
            sweep(finder)
            finder.vanish()
        with redis.Redis.from_url(broker_url) as broker:
            assert set(broker.hvals("unacked_deliveries")) == {b"6"}
        with installation.worker():
            assert {result.get(timeout=20)["outcome"] for result in results} == {"created"}
            wait_until(lambda: installation.waiting() == 0, "nothing is left in the broker")
        assert installation.dead_letters() == []
        assert counted(database_url) == 0

"""Messages that are due later, kept in the broker by its clock and in no worker's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.support.installation import Installation
from tests.support.transport_peer import DURABLE, Peer, publish
from tests.support.waiting import wait_until
from worker.durable.waiting import MOST_HELD_SECONDS

KEY = "threadsync.waiting:sessions"
DISCARDS = "Discarding revoked task: sessions.get_or_create"
GET_OR_CREATE = "sessions.get_or_create"


def test_what_is_due_later_waits_in_the_broker(installation: Installation) -> None:
    """A message that is due later waits in the broker, outlives a killed worker, and runs once when due."""
    thread = {"channel_id": "C1", "thread_ts": "1.1"}
    with redis.Redis.from_url(installation.broker_url) as server, installation.worker("first") as first:
        result = installation.celery.send_task(
            "sessions.get_or_create", kwargs={**thread, "user_id": "U1"}, queue="sessions", countdown=3600
        )
        wait_until(lambda: server.zcard(KEY) == 1, "it waits in the broker")
        assert (server.hlen("unacked"), server.zcard("unacked_index"), server.llen("sessions")) == (0, 0, 0)
        first.kill()
        ((message, due),) = server.zrange(KEY, 0, -1, withscores=True)
        assert 3500 < due - server.time()[0] < 3601
        # Makes the message due by the server's clock, although the workers' clock says that it is not.
        server.zadd(KEY, {message: 1.0})
        with installation.worker("second"):
            assert result.get(timeout=20)["outcome"] == "created"
            wait_until(lambda: installation.waiting() == 0, "it has ended")
    result.backend = None  # type: ignore[assignment]


def test_what_is_revoked_is_dropped_wherever_it_waits(installation: Installation, tmp_path: Path) -> None:
    """A message that is revoked before it arrives or while it waits is dropped, even after a restart."""
    worker = installation.worker("worker", "--statedb", str(tmp_path / "state"))
    with redis.Redis.from_url(installation.broker_url) as server, worker:
        thread = {"channel_id": "C1", "thread_ts": "1.1", "user_id": "U1"}
        early, late = "revoked before it comes", "revoked while it waits"
        installation.send_later(3600, late, GET_OR_CREATE, **thread)
        wait_until(lambda: server.zcard(KEY) == 1, "it waits in the broker")
        for task_id in (early, late):
            installation.celery.control.revoke(task_id)
        wait_until(
            lambda: all(f"flagged as revoked: {name}" in worker.log for name in (early, late)), "it knows"
        )
        installation.send_later(3600, early, GET_OR_CREATE, **thread)
        wait_until(lambda: f"{DISCARDS}[{early}]" in worker.log, "it is dropped when it comes")
        assert server.zcard(KEY) == 1
        worker.stop()
        ((message, _due),) = server.zrange(KEY, 0, -1, withscores=True)
        server.zadd(KEY, {message: 1.0})
        worker.start()
        wait_until(lambda: f"{DISCARDS}[{late}]" in worker.log, "it is dropped when its time has come")
        wait_until(lambda: installation.waiting() == 0, "nothing is left")
    assert installation.sessions() == []
    assert installation.dead_letters() == []


def test_what_the_broker_does_not_keep_waits_in_the_worker(installation: Installation) -> None:
    """A message that the broker does not keep waits in the worker and runs when due."""
    with redis.Redis.from_url(installation.broker_url) as server:
        server.set(KEY, "of somebody else's making")
        with installation.worker() as worker:
            result = installation.celery.send_task(
                "sessions.get_or_create",
                kwargs={"channel_id": "C1", "thread_ts": "1.1", "user_id": "U1"},
                queue="sessions",
                countdown=MOST_HELD_SECONDS + 2,
            )
            assert result.get(timeout=30)["outcome"] == "created"
            assert "refused to keep" in worker.log
            wait_until(lambda: server.hlen("unacked") == 0, "it has ended")
        assert installation.dead_letters() == []
    result.backend = None  # type: ignore[assignment]


def test_due_ones_come_first_and_keep_their_count(broker_url: str) -> None:
    """Due messages come before new ones, under their own tags and unmarked."""
    peer = Peer(broker_url, DURABLE, "q", prefetch=2)
    publish(broker_url, "a", "b")
    for message in peer.take(2):
        peer.channel.qos.set_aside(message.delivery_tag, 0.0)
    publish(broker_url, "new")
    first, second = peer.take(2)
    assert {first.payload, second.payload} == {"a", "b"}
    assert first.delivery_info["waited"]
    assert not first.delivery_info.get("redelivered")
    first.ack()
    second.ack()
    assert peer.take()[0].payload == "new"
    peer.vanish()


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_a_pool_that_we_do_not_know_is_refused(pool: str, installation: Installation) -> None:
    """A worker with an unsupported pool ends at its start with a sentence."""
    worker = installation.worker("refused", "--pool", pool, DATABASE_URL="postgresql://127.0.0.1:1/away")
    worker.launch()
    wait_until(lambda: not worker.is_alive, "it has ended", 60)
    assert "is not supported: take prefork" in worker.log


def test_solo_carries_out_more_than_a_batch(installation: Installation, tmp_path: Path) -> None:
    """A worker with the solo pool warns and runs hundreds of commands, redelivered ones included."""
    with installation.worker("killed", "--pool", "solo") as killed:
        installation.send("probe.take", str(tmp_path / "diary"), 1.0)
        for number in range(300):
            thread = {"channel_id": "C1", "thread_ts": f"{number}.1"}
            installation.send("sessions.get_or_create", **thread, user_id="U1")
        wait_until((tmp_path / "diary").exists, "it has begun")
        killed.kill()
    with installation.worker("solo", "--pool", "solo") as solo:
        wait_until(lambda: installation.waiting() == 0, "all have ended", 60)
        assert "solo is for debugging" in solo.log
    assert len(installation.sessions()) == 300

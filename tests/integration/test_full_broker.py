"""A broker that refuses writes: drained at maxmemory, waited for in other cases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.support.brokers import BROKERS, broker_of_kind, empty, fill
from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer
from tests.support.refusals import CHEAP, REFUSALS, SETTINGS
from tests.support.transport_peer import DURABLE, Peer, places, publish, sweep
from tests.support.waiting import wait_until
from tests.support.waiting_out import wait_out
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed
from worker.local.servers.valkey import EmbeddedValkey


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with broker_of_kind(request.param, tmp_path, appendfsync="no") as broker:
        yield broker


def test_a_full_server_is_taken_from_to_the_last_message(broker: EmbeddedValkey) -> None:
    """A broker at its memory limit lets a worker finish every message, and refuses those of producers."""
    publish(broker.url, *range(300))
    with redis.Redis.from_url(broker.url) as server, SessionClient(broker.url) as client:
        fill(server)
        with pytest.raises(EnqueueFailed, match="full"):
            client.get_or_create("C1", "1.1", "U1")
        first = Peer(broker.url, DURABLE, "q")
        first.take(300)
        first.vanish()
        peer = Peer(broker.url, DURABLE, "q")
        sweep(peer)
        again = peer.take(300)
        peer.channel.qos.set_aside(again[0].delivery_tag, 0.0)
        again[1].requeue()
        for message in (*again[2:], *peer.take(2)):
            message.ack()
        assert sorted({message.payload for message in peer.got}) == list(range(300))
        assert places(server) == (0, 0, 0)
        assert {key for key in server.keys("*") if not key.startswith(b"_kombu.binding")} == set()
        peer.vanish()
        empty(server)
        client.get_or_create("C1", "1.1", "U1")


def test_workers_drain_a_full_broker(database_url: str, broker: EmbeddedValkey, tmp_path: Path) -> None:
    """A running worker and a new one both drain a full broker; afterwards new commands are carried out."""
    with (
        closing(Installation(database_url, broker.url, tmp_path)) as installation,
        redis.Redis.from_url(broker.url) as server,
        installation.worker("running", SESSION_WAIT_SECONDS="60") as running,
    ):
        for number in range(100):
            thread = {"channel_id": "C1", "thread_ts": f"{number}.1"}
            installation.send("sessions.update_status", **thread, status="ready_to_sync")
        for number in range(100):
            thread = {"channel_id": "C1", "thread_ts": f"{number}.1"}
            installation.send("sessions.get_or_create", **thread, user_id="U1")
        fill(server)
        wait_until(lambda: installation.waiting() == 0, "the running worker has drained it", 30)
        running.kill()
        empty(server)
        for number in range(100):
            thread = {"channel_id": "C2", "thread_ts": f"{number}.1"}
            installation.send("sessions.get_or_create", **thread, user_id="U1")
        # A new installation's broker has none of kombu's tables either.
        server.delete(*server.keys("_kombu.binding*"))
        fill(server)
        with installation.worker("started") as started:
            wait_until(lambda: installation.waiting() == 0, "the started worker has drained it", 30)
            empty(server)
            result = installation.send(
                "sessions.get_or_create", channel_id="C3", thread_ts="1.1", user_id="U1"
            )
            assert result.get(timeout=10)["outcome"] == "created"
            assert started.is_alive
        assert len(installation.sessions()) == 201
        assert {session.status for session in installation.sessions() if session.channel_id == "C1"} == {
            "ready_to_sync"
        }
        assert installation.dead_letters() == []


@pytest.mark.parametrize("reason", sorted(CHEAP))
def test_a_broker_that_refuses_is_waited_for(reason: str, database_url: str, tmp_path: Path) -> None:
    """Workers outlive a broker that refuses writes and go on by themselves; health asks for no restart."""
    with RedisServer(tmp_path / "server", settings=SETTINGS) as server:
        wait_out(REFUSALS[reason], server, database_url, tmp_path)

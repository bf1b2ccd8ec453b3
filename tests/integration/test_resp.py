"""RESP2 and RESP3, the default of redis-py since version 8, between which the transport is the same.

Many replies differ in shape: a map instead of a list of pairs, a pushed message instead of a reply. A
broker's address cannot choose the protocol, so kombu is patched; the server says which one a connection uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Queue
from kombu.transport import redis as kombu_redis

from tests.support.redis_servers import RedisServer, SentinelSet
from tests.support.transport_peer import DURABLE, Peer, publish, sweep
from threadsync.broker.installation import OthersBroker, claim, owner_of, take_over
from threadsync.broker.options import broker_options
from threadsync.broker.results import hang_up
from threadsync.config import load_settings
from threadsync.errors import InvalidSettings
from threadsync.liveness import heartbeats as signs
from threadsync.liveness.state import QueueUse
from threadsync.sending import Broker
from worker.doctor.app import app_of
from worker.doctor.broker import CHECKS, examine_broker
from worker.durable.connection import DurableConnection
from worker.durable.results import WorkersCelery
from worker.operate.memory import memory_of


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSet]:
    """Start a master, a replica and a sentinel."""
    with SentinelSet(tmp_path_factory.mktemp("servers"), replicas=1, sentinels=1) as servers:
        yield servers


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def spoken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Make kombu's channels use RESP2 or RESP3, and return which."""
    # The stubs lack this attribute.
    channels: Any = kombu_redis.Channel
    kombus = channels._connparams

    def with_protocol(channel: Any, asynchronous: bool = False) -> dict[str, Any]:
        return {**kombus(channel, asynchronous), "protocol": request.param}

    monkeypatch.setattr(channels, "_connparams", with_protocol)
    return int(request.param)


@pytest.fixture
def url(servers: SentinelSet, spoken: int) -> str:
    """Empty the master, and return its URL."""
    with servers.master.client() as administrator:
        administrator.flushall()
    return servers.master.url()


@pytest.fixture
def channel(url: str) -> Iterator[Any]:
    """Open a worker's channel."""
    with DurableConnection(url) as connection:
        yield connection.default_channel


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., Peer]]:
    """Yield a function that connects a peer to this test's broker, and end all peers afterwards."""
    peers: list[Peer] = []

    def make(*queues: str) -> Peer:
        peers.append(Peer(url, DURABLE, *(queues or ("q",))))
        return peers[-1]

    yield make
    for peer in peers:
        peer.vanish()


def test_each_connection_speaks_it(url: str, spoken: int, channel: Any) -> None:
    """The connections for commands and for waiting use the chosen protocol, as the server sees them."""
    clients = [channel._create_client(), channel._create_client(asynchronous=True)]
    assert [client.client_info()["resp"] for client in clients] == [str(spoken)] * 2
    for client in clients:
        client.connection_pool.disconnect()


def test_messages_go_all_their_ways(url: str, connect: Callable[..., Peer]) -> None:
    """Messages are taken, ended, returned, set aside, redelivered and awaited."""
    publish(url, "one", "two", "three", "four")
    peer = connect()
    one, two, three, four = peer.take(4)
    assert [message.payload for message in (one, two, three, four)] == ["one", "two", "three", "four"]
    one.ack()
    two.requeue()
    (again,) = peer.take()
    assert (again.payload, again.delivery_info["redelivered"]) == ("two", True)
    assert peer.channel.qos.set_aside(three.delivery_tag, 0.01)
    (due,) = peer.take()
    assert due.payload == "three"
    peer.vanish()
    later = connect()
    sweep(later)
    overdue = later.take(3)
    assert {message.payload for message in overdue} == {"two", "three", "four"}
    # The peer asks, finds nothing, waits, and is woken.
    later.look()
    publish(url, "five")
    assert later.take()[0].payload == "five"


def test_one_is_asked_for(url: str, channel: Any) -> None:
    publish(url, "one")
    assert channel.basic_get("q").payload == "one"
    assert channel.basic_get("q") is None


def test_remote_control_is_heard(url: str, connect: Callable[..., Peer]) -> None:
    """Remote control is received, which RESP3 sends as a push."""
    peer = connect()
    pidbox = Exchange("celery.pidbox", type="fanout", durable=False)
    queue = Queue("a.pidbox", pidbox, durable=False, auto_delete=True)
    Consumer(peer.channel, [queue], on_message=peer.got.append).consume()
    peer.look()
    with Connection(url) as connection:
        for word in ("ping", "pong"):
            connection.Producer().publish(word, exchange=pidbox, declare=[pidbox], serializer="json")
    assert [message.payload for message in peer.take(2)] == ["ping", "pong"]


def test_signs_are_left_and_read(channel: Any) -> None:
    signs.beat_sent_canaries(channel)
    signs.canary_came_through(channel, "sessions", "one@host")
    signs.worker_is_there(channel, "one@host", {"sessions": QueueUse(1.0, None)})
    signs.worker_is_there(channel, "two@host", {})
    signs.worker_is_gone(channel, "two@host")
    signs.worker_writes_to(channel, "one@host", "db", 0.0)
    signs.tell_socket(channel, "host:1", 3.0)
    found = signs.look(channel)
    assert found is not None
    assert found.refusal is None
    assert (set(found.canaries), set(found.workers), set(found.places)) == (
        {"sessions"},
        {"one@host"},
        {"one@host"},
    )
    assert found.workers["one@host"].queues["sessions"].ended is None
    assert found.beat is not None
    assert found.sockets["host:1"] >= 3.0


def test_the_doctor_sees_the_same(url: str, servers: SentinelSet) -> None:
    """The doctor runs each of its checks and finds nothing wrong or unreadable."""
    settings = load_settings(celery_broker_url=url, broker_wait_replicas=1)
    found = {finding.check: finding for finding in examine_broker(settings)}
    assert set(found) == set(CHECKS)
    assert found["broker: append-only file"].message.startswith("appendfsync no")
    del found["broker: append-only file"]
    # These tests use one user for all processes.
    del found["broker: user"]
    assert {
        finding.check for finding in found.values() if finding.level in ("warning", "error", "skipped")
    } == set()


def test_memory_and_replicas_are_told(url: str, channel: Any) -> None:
    """The server's memory is read from INFO, and a client waits for a replica with WAIT."""
    memory = memory_of(channel)
    assert memory is not None
    assert 0 < memory.used < memory.machine
    options = broker_options(url, load_settings(celery_broker_url=url, broker_wait_replicas=1), "client")
    with DurableConnection(url, transport_options=options["broker_transport_options"]) as connection:
        connection.Producer().publish("one", routing_key="q", serializer="json")
    assert channel.basic_get("q").payload == "one"


def test_a_broker_has_one_owner(url: str) -> None:
    with DurableConnection(url) as connection:
        assert owner_of(connection) is None
        claim(connection, "ours")
        assert owner_of(connection) == "ours"
        with pytest.raises(OthersBroker, match="ours"):
            claim(connection, "theirs")
        take_over(connection, "theirs")
        claim(connection, "theirs")
    with (
        DurableConnection(url, transport_options={"installation": "ours"}) as connection,
        pytest.raises(OthersBroker),
    ):
        claim(connection, "ours")


def test_a_cluster_is_known(spoken: int, tmp_path: Path) -> None:
    """A Redis Cluster is recognised by the server's greeting and refused."""
    with (
        RedisServer(tmp_path, settings={"cluster-enabled": "yes"}) as server,
        DurableConnection(server.url()) as connection,
        pytest.raises(InvalidSettings, match="Redis Cluster"),
    ):
        connection.default_channel  # noqa: B018 - connects


def test_sentinels_name_the_master(servers: SentinelSet, url: str, spoken: int) -> None:
    options = {**servers.options, "sentinel_kwargs": {"protocol": spoken}}
    settings = load_settings(celery_broker_url=servers.url, celery_broker_transport_options=options)
    with app_of(settings) as app, app.connection_for_write() as connection:
        connection.Producer().publish("one", routing_key="q", serializer="json")
        channel: Any = connection.default_channel
        assert channel.basic_get("q").payload == "one"


# The warning is about Celery's own call.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
def test_results_are_stored_and_read(url: str, spoken: int) -> None:
    """Results are stored and read with the protocol that the address names."""
    results = f"{url}?protocol={spoken}"
    app: Any = WorkersCelery(backend=results, set_as_current=False)
    assert app.backend.client.client_info()["resp"] == str(spoken)
    app.backend.store_result("stored", {"outcome": "created"}, "SUCCESS")
    with app.backend.gathering():
        app.backend.store_result("gathered", [1.5, True, None], "SUCCESS")
    broker = Broker(url, results)
    assert broker.result_of("stored") == (True, {"outcome": "created"})
    assert broker.result_of("gathered") == (True, [1.5, True, None])
    assert broker.result_of("never") == (False, None)
    broker.close()
    hang_up(app.backend.client)

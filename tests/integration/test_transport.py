"""The channel that loses no message, case by case, on a real Valkey."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Queue

from tests.support.transport_peer import DURABLE, Peer, places, publish, sweep
from tests.support.waiting import wait_until

STOCK = "redis"


@pytest.fixture
def server(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url, decode_responses=True) as server:
        yield server


Connect = Callable[..., Peer]


@pytest.fixture
def connect(broker_url: str) -> Iterator[Connect]:
    """Yield a function that connects a peer to this test's broker, and end all peers afterwards."""
    peers: list[Peer] = []

    def make(transport: str = DURABLE, *queues: str, **options: Any) -> Peer:
        peers.append(Peer(broker_url, transport, *(queues or ("q",)), **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.vanish()


def test_a_message_is_noted_in_the_step_that_takes_it(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A message is noted in the same step that takes it, and is gone once acknowledged."""
    publish(broker_url, "first", "second", "third")
    peer = connect(prefetch=1)
    (message,) = peer.take()
    assert message.payload == "first"
    assert places(server) == (2, 1, 1)
    message.ack()
    assert places(server) == (2, 0, 0)
    assert peer.take()[0].payload == "second"


def test_the_server_runs_nothing_that_only_pops(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """The transport takes messages by a script or BLMOVE and never by BRPOP or RPOP alone."""
    server.config_resetstat()
    peer = connect()
    peer.look()
    publish(broker_url, 1, 2, 3)
    peer.take(3)
    peer.look()
    calls = {name: facts["calls"] for name, facts in server.info("commandstats").items()}
    assert "cmdstat_brpop" not in calls
    assert calls["cmdstat_rpop"] == 3
    assert calls["cmdstat_blmove"] > 0
    assert calls["cmdstat_eval"] >= 4


def test_who_got_less_than_there_was_room_for_waits_at_once(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A worker that got less than it had room for waits without looking into the queue again."""
    peer = connect()
    publish(broker_url, "alone")
    peer.take()
    server.config_resetstat()
    with contextlib.suppress(TimeoutError):
        peer.connection.drain_events(timeout=0.3)
    calls = server.info("commandstats")
    assert "cmdstat_eval" in calls, "it has renewed what it holds"
    assert "cmdstat_lindex" not in calls


def test_the_prefetch_limit_is_kept(broker_url: str, server: redis.Redis, connect: Connect) -> None:
    """A peer takes no more than its prefetch limit and leaves the rest to others."""
    publish(broker_url, *range(5))
    first, second = connect(prefetch=2), connect(prefetch=2)
    first.take(2)
    first.look()
    assert places(server) == (3, 2, 2)
    assert [message.payload for message in second.take(2)] == [2, 3]


def test_a_vanished_peers_messages_are_redelivered(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A vanished peer's messages are delivered again after the visibility timeout, marked as redelivered."""
    publish(broker_url, *range(1200))
    peer = connect()
    assert not peer.take(1200)[0].delivery_info.get("redelivered")
    peer.vanish()
    publish(broker_url, "new")
    sweep(connect())
    restored = connect().take(1201)
    assert sorted(message.payload for message in restored if message.payload != "new") == list(range(1200))
    assert all(
        message.delivery_info["redelivered"] and message.headers["redelivered"]
        for message in restored
        if message.payload != "new"
    )
    assert server.hlen("unacked_deliveries") == 1200


def test_a_rejected_message_goes_behind_the_others(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A message rejected with requeue is delivered last and marked; one rejected without is gone."""
    publish(broker_url, "first", "second")
    peer = connect(prefetch=1)
    peer.take()[0].requeue()
    second = peer.take()[0]
    assert (second.payload, second.delivery_info.get("redelivered")) == ("second", None)
    second.reject()
    again = peer.take()[0]
    assert (again.payload, again.delivery_info["redelivered"]) == ("first", True)
    again.ack()
    assert places(server) == (0, 0, 0)
    assert server.hlen("unacked_deliveries") == 0


def test_a_peer_that_closes_hands_everything_back(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A peer that closes its connection hands all its messages back at once."""
    publish(broker_url, *range(10))
    peer = connect()
    peer.take(10)
    peer.connection.close()
    assert places(server) == (10, 0, 0)


@pytest.mark.parametrize(("former", "latter"), [(STOCK, DURABLE), (DURABLE, STOCK)])
def test_old_and_new_workers_restore_each_others_messages(
    former: str, latter: str, broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A worker on kombu's transport and one on ours restore each other's messages."""
    publish(broker_url, "kept")
    peer = connect(former)
    peer.take()
    peer.vanish()
    other = connect(latter)
    sweep(other)
    message = other.take()[0]
    assert (message.payload, message.delivery_info["redelivered"]) == ("kept", True)


@pytest.mark.parametrize(
    "junk",
    [
        b"{{{",
        b"\xff\xfe\x00",
        b"[]",
        b'{"no": "message"}',
        b'{"properties": {"delivery_tag": 7}}',
        b'{"properties": {"delivery_tag": "t"}}',
        b'{"body": "abc", "headers": {}, "properties": {"delivery_tag": "t", "body_encoding": "base64"}}',
        b'{"body": "\xff", "headers": {}, "properties": {"delivery_tag": "t"}}',
        b"[" * 5000,
    ],
)
def test_what_is_no_message_is_delivered_as_the_body_of_one(
    junk: bytes, broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """Bytes that are no message are delivered as a body, noted, and delivered again after a death."""
    with redis.Redis.from_url(broker_url) as raw:
        raw.lpush("q", junk)
    peer = connect()
    (message,) = peer.take()
    assert bytes(message.body) == junk  # type: ignore[arg-type]
    assert places(server) == (0, 1, 1)
    peer.vanish()
    other = connect()
    sweep(other)
    (again,) = other.take()
    assert bytes(again.body) == junk  # type: ignore[arg-type]
    again.ack()
    assert places(server) == (0, 0, 0)


def test_a_wrong_type_under_a_queues_key_is_survived(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A key of a wrong type in place of a queue stops no other queue, and its queue works once it is gone."""
    peer = connect(DURABLE, "q", "other")
    server.set("q", "no list")
    publish(broker_url, 1, queue="other")
    assert peer.take()[0].payload == 1
    peer.look()
    server.delete("q")
    publish(broker_url, 2)
    assert peer.take()[0].payload == 2


def test_several_queues_get_their_turns(broker_url: str, connect: Connect) -> None:
    """Several queues are served in turns, whether they are full or idle."""
    publish(broker_url, *range(50), queue="busy")
    publish(broker_url, "a", "b", queue="quiet")
    peer = connect(DURABLE, "busy", "quiet")
    first = [message.payload for message in peer.take(6)]
    assert {"a", "b"} <= set(first)
    wait_until(lambda: peer.look() and len(peer.got) == 52, "all are there")
    for queue in ("quiet", "busy"):
        publish(broker_url, queue, queue=queue)
        assert peer.take()[0].payload == queue


def test_priorities_are_kept(broker_url: str, connect: Connect) -> None:
    """Messages of priority 0 are delivered before those of priority 9, as in kombu."""
    publish(broker_url, "late", priority=9)
    publish(broker_url, "soon", priority=0)
    assert [message.payload for message in connect().take(2)] == ["soon", "late"]


def test_what_is_given_back_keeps_its_priority(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A restored message returns to the list of its priority."""
    publish(broker_url, "late", priority=7)
    first = connect()
    first.take()
    first.vanish()
    sweep(connect(DURABLE, "unused"))
    assert server.keys("q*") == ["q\x06\x166"]
    publish(broker_url, "soon", priority=0)
    assert [message.payload for message in connect().take(2)] == ["soon", "late"]


def test_a_message_that_comes_when_nobody_consumes_any_more_stays(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A message that arrives after the last consumer was cancelled stays in the queue."""
    peer = connect()
    peer.look()
    publish(broker_url, "held")
    peer.take()
    peer.look()
    peer.cancel()
    publish(broker_url, "for others")
    peer.look()
    assert places(server) == (1, 1, 1)
    peer.connection.close()
    assert places(server) == (2, 0, 0)


def test_what_needs_no_acknowledgement_is_not_noted(
    broker_url: str, server: redis.Redis, connect: Connect
) -> None:
    """A message that needs no acknowledgement is not noted."""
    publish(broker_url, "reply")
    peer = connect(DURABLE, "unused")
    consumer = Consumer(peer.channel, [Queue("q")], on_message=peer.got.append, no_ack=True)
    consumer.consume()
    assert peer.take()[0].payload == "reply"
    assert places(server) == (0, 0, 0)


def test_a_single_get_is_noted_too(broker_url: str, server: redis.Redis, connect: Connect) -> None:
    """A message taken by `basic_get` is noted unless it needs no acknowledgement."""
    channel = connect(DURABLE, "unused").channel
    assert channel.basic_get("q") is None
    publish(broker_url, "one", "two")
    message = channel.basic_get("q")
    assert message.payload == "one"
    assert places(server) == (1, 1, 1)
    message.ack()
    assert channel.basic_get("q", no_ack=True).payload == "two"
    assert places(server) == (0, 0, 0)


def test_every_key_has_the_prefix(broker_url: str, server: redis.Redis, connect: Connect) -> None:
    """Every key of the transport has the configured prefix."""
    options = {"global_keyprefix": "ts:"}
    peer = connect(**options)
    with Connection(broker_url, transport_options=options) as connection:
        connection.Producer().publish("x", routing_key="q", serializer="json")
    peer.take()
    peer.vanish()
    other = connect(**options)
    sweep(other)
    other.take()[0].ack()
    assert [key for key in server.scan_iter() if not key.startswith("ts:")] == []


def test_a_note_is_in_kombus_format(broker_url: str, server: redis.Redis, connect: Connect) -> None:
    """A noted message has kombu's own format."""
    publish(broker_url, "x")
    (message,) = connect().take()
    noted, exchange, queue = json.loads(server.hget("unacked", message.delivery_tag or "") or "")
    assert (exchange, queue) == ("", "q")
    assert noted["properties"]["delivery_tag"] == message.delivery_tag

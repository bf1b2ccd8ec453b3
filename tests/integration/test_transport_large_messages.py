"""Large messages, read in Valkey without their bodies and the same at each delivery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import pytest
import redis

from tests.support.transport_peer import DURABLE, Peer, publish, sweep
from worker.durable.scripts import READ_WHOLE_BYTES

LARGE = "x" * (2 * READ_WHOLE_BYTES)
QUEUE = "long" * 100
OF_PRIORITY = "\x06\x166"


@pytest.fixture
def server(broker_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url, decode_responses=True) as server:
        yield server


def put_back(peer: Peer, url: str) -> None:
    """Kill the peer, and let another one restore its messages."""
    peer.vanish()
    other = Peer(url, DURABLE, "unused")
    sweep(other)
    other.vanish()


@pytest.mark.parametrize(
    ("body", "headers", "is_read"),
    [(LARGE, {}, True), ([LARGE, "\N{SNOWMAN}"], {"id": "t-1"}, True), ("x", {"much": LARGE}, False)],
)
def test_a_large_message_is_the_same_each_time(
    body: object, headers: dict[str, object], is_read: bool, server: redis.Redis, broker_url: str
) -> None:
    """A large message keeps its tag and content over a redelivery, even when its headers cannot be read."""
    publish(broker_url, body, body, queue=QUEUE, headers=headers, priority=7)
    sent = server.lrange(QUEUE + OF_PRIORITY, 0, -1)
    own = {json.loads(raw)["properties"]["delivery_tag"] for raw in sent}
    first = Peer(broker_url, DURABLE, QUEUE)
    tags = {str(message.delivery_tag) for message in first.take(2)}
    assert (tags == own) is is_read
    assert first.channel.qos.set_aside(min(tags), 0)
    put_back(first, broker_url)
    assert server.hgetall("unacked_deliveries") == {max(tags): "1"}
    assert server.keys("long*") == [QUEUE + (OF_PRIORITY if is_read else "")]
    second = Peer(broker_url, DURABLE, QUEUE)
    again = second.take(2)
    assert {message.delivery_tag for message in again} == tags
    assert [message.payload for message in again] == [body, body]
    second.vanish()


def test_a_large_message_of_another_make_is_delivered(server: redis.Redis, broker_url: str) -> None:
    """A large message in another layout is delivered under a tag made from its ends, the same each time."""
    properties = {"delivery_tag": "own", "delivery_info": {}}
    behind = json.dumps({"properties": properties, "headers": {}, "body": LARGE})
    quoted = json.dumps({"body": '"' + LARGE, "properties": properties, "headers": {}})
    junk = "{" + LARGE
    server.lpush("q", behind, quoted, junk)
    first = Peer(broker_url, DURABLE, "q")
    bodies = {str(message.delivery_tag): cast(bytes, message.body) for message in first.take(3)}
    assert all(tag.startswith("unreadable-") for tag in bodies)
    assert list(bodies.values()) == [LARGE.encode(), b'"' + LARGE.encode(), junk.encode()]
    put_back(first, broker_url)
    second = Peer(broker_url, DURABLE, "q")
    again = {str(message.delivery_tag): cast(bytes, message.body) for message in second.take(3)}
    assert again == bodies
    second.vanish()

"""The channel under events in any order, with each message in one place or at its end."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from kombu import Connection

from tests.support.scale import bounded
from tests.support.servers import ValkeyForTests
from threadsync.broker.lua import WAITING
from worker.durable import scripts
from worker.durable.deliveries import unsealed
from worker.durable.lane.chunk import Chunk
from worker.durable.raw_message import DurableMessage, Taken, payload_of

QUEUES = ("one", "two")


class ChannelMachine(RuleBasedStateMachine):
    """A state machine of publishers, workers and sweeps, whose model is the set of open messages."""

    peers = Bundle("peers")
    held = Bundle("held")
    chunks = Bundle("chunks")

    def __init__(self, valkey: ValkeyForTests) -> None:
        super().__init__()
        self.url = valkey.broker()
        self.server = redis.Redis.from_url(self.url)
        self.producer = Connection(self.url)
        self.connections: list[Any] = []
        self.published = 0
        self.open: set[int] = set()
        self.delivered: Counter[int] = Counter()

    def teardown(self) -> None:
        for connection in self.connections:
            self._vanish(connection)
        self.producer.close()
        self.server.close()

    @initialize(target=peers)
    def first_peer(self) -> Any:
        return self._connect()

    @rule(target=peers)
    def another_peer(self) -> Any:
        return self._connect()

    @rule(
        queue=st.sampled_from(QUEUES),
        count=st.integers(1, 4),
        priority=st.sampled_from([None, 0, 6]),
        of_lane=st.booleans(),
    )
    def publish(self, queue: str, count: int, priority: int | None, of_lane: bool) -> None:
        for _ in range(count):
            options: Any = {} if priority is None else {"priority": priority}
            options["headers"] = {"task": "probe.lane" if of_lane else "probe.other"}
            self.producer.Producer().publish(self.published, routing_key=queue, serializer="json", **options)
            self.open.add(self.published)
            self.published += 1

    @rule(target=held, peer=peers, queue=st.sampled_from(QUEUES))
    def take(self, peer: Any, queue: str) -> Any:
        message = peer.basic_get(queue)
        if message is None:
            return multiple()
        message = unsealed(message)
        number = message.decode()
        assert number in self.open, "what has ended is delivered again"
        came_before = bool(message.delivery_info.get("redelivered"))
        assert came_before == (self.delivered[number] > 0), "the mark tells a lie"
        self.delivered[number] += 1
        return peer, message

    @rule(target=chunks, peer=peers, queue=st.sampled_from(QUEUES))
    def take_for_the_lane(self, peer: Any, queue: str) -> Any:
        """Take up to three messages for the fast lane, which were never delivered before, and no others."""
        rows, where, messages, tags = peer.run_script(
            *peer._take_arguments([queue], 0, lane=(3, "|probe.lane|probe.more|"))
        )
        assert rows == []
        if not tags:
            return multiple()
        chunk = Chunk.of(where, messages, tags, peer)
        assert len(chunk) <= 3
        peer.qos.hold(chunk.tags)
        for raw in chunk.messages:
            assert b"probe.lane" in raw
            assert self.delivered[_number(raw)] == 0, "what came before takes the lane"
            self.delivered[_number(raw)] += 1
        return chunk

    @rule(chunk=consumes(chunks), by_child=st.booleans())
    def end_chunk(self, chunk: Chunk, by_child: bool) -> None:
        """End a chunk, of which its child has told the server, or the worker tells it."""
        peer: Any = chunk.channel
        mine = [_number(raw) for raw, tag in self._each(chunk) if self.server.hexists("unacked", tag)]
        if by_child:
            keys = ("unacked", "unacked_index", "unacked_deliveries")
            self.server.eval(scripts.END, len(keys), *keys, *chunk.tags)
        is_known = by_child or not peer.closed
        peer.qos.lane_ended(chunk.queue, chunk.tags, is_told=by_child)
        peer.qos.flush()
        self.open.difference_update(mine if is_known else ())

    @rule(chunk=consumes(chunks))
    def give_chunk_back(self, chunk: Chunk) -> None:
        """Give a chunk back whose child has died."""
        peer: Any = chunk.channel
        peer.qos.lane_given_back(chunk.tags)
        peer.qos.flush()

    @rule(target=held, chunk=consumes(chunks))
    def leave_chunk_over(self, chunk: Chunk) -> Any:
        """Let the messages of a chunk take the ordinary road."""
        peer: Any = chunk.channel
        peer.qos.let_go(chunk.tags)
        if peer.closed:
            return multiple()
        messages = []
        for raw, tag in self._each(chunk):
            payload = payload_of(Taken(chunk.queue, raw, tag, 1, False, "", "", 0), peer)
            messages.append(DurableMessage(payload, channel=peer))
            peer.qos.append(messages[-1], tag)
        return multiple(*((peer, message) for message in messages))

    @rule(one=consumes(held))
    def acknowledge(self, one: tuple[Any, Any]) -> None:
        peer, message = one
        number, mine = message.decode(), self._is_still_held(message)
        message.ack()
        if not peer.closed and mine:
            self.open.discard(number)

    @rule(one=consumes(held), requeue=st.booleans())
    def reject(self, one: tuple[Any, Any], requeue: bool) -> None:
        peer, message = one
        number, mine = message.decode(), self._is_still_held(message)
        message.reject(requeue=requeue)
        if not peer.closed and mine and not requeue:
            self.open.discard(number)

    @rule(one=consumes(held), seconds=st.sampled_from([0.0, 3600.0]))
    def set_aside(self, one: tuple[Any, Any], seconds: float) -> None:
        """Put the message aside in the broker, for an hour or until the next take."""
        peer, message = one
        if not peer.closed:
            if self._is_still_held(message):
                self.delivered[message.decode()] = message.delivery_info["deliveries"] - 1
            peer.qos.set_aside(message.delivery_tag, seconds)

    @rule(peer=consumes(peers))
    def stop(self, peer: Any) -> None:
        """Close the peer's connection, which hands its messages back."""
        peer.connection.client.close()

    @rule(peer=consumes(peers))
    def kill(self, peer: Any) -> None:
        """Kill the peer, whose messages stay noted until a sweep."""
        self._vanish(peer.connection.client)

    @rule(peer=peers)
    def sweep(self, peer: Any) -> None:
        """Sweep as if all other peers had been silent for longer than the visibility timeout."""
        peer.visibility_timeout = 0
        peer.qos.__dict__.pop("visibility_timeout", None)
        peer.qos.restore_visible()

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        places = Counter(self._waiting() + self._noted())
        assert places == Counter(dict.fromkeys(self.open, 1))

    @invariant()
    def the_index_knows_every_note(self) -> None:
        assert set(self.server.hkeys("unacked")) == set(self.server.zrange("unacked_index", 0, -1))

    def _each(self, chunk: Chunk) -> Iterator[tuple[bytes, Any]]:
        return zip(chunk.messages, chunk.tags, strict=True)

    def _connect(self) -> Any:
        connection: Any = Connection(self.url, transport="worker.durable.transport:DurableTransport")
        self.connections.append(connection)
        return connection.channel()

    def _vanish(self, connection: Any) -> None:
        for channel in tuple(connection.connection.channels) if connection.connected else ():
            channel.do_restore = False
        connection.close()

    def _is_still_held(self, message: Any) -> bool:
        return bool(self.server.hexists("unacked", message.delivery_tag))

    def _waiting(self) -> list[int]:
        keys = [f"{queue}{step}" for queue in QUEUES for step in ("", "\x06\x166")]
        lists: list[Any] = [raw for key in keys for raw in self.server.lrange(key, 0, -1)]
        later: list[Any] = [raw for queue in QUEUES for raw in self.server.zrange(f"{WAITING}{queue}", 0, -1)]
        return [_number(raw) for raw in (*lists, *later)]

    def _noted(self) -> list[int]:
        return [_number(json.dumps(json.loads(note)[0])) for note in self.server.hvals("unacked")]


def _number(raw: bytes | str) -> int:
    return int(base64.b64decode(json.loads(raw)["body"]))


@pytest.mark.bounded
@pytest.mark.timeout(300)
def test_each_message_is_in_one_place_or_has_ended(valkey: ValkeyForTests) -> None:
    """Publishing, taking, acknowledging, rejecting, stops, kills and sweeps lose and double no message."""
    machine: Any = partial(ChannelMachine, valkey)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=bounded(120, 30),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

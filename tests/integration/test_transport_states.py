"""The channel under events in any order, with each message in one place or at its end."""

from __future__ import annotations

import base64
import json
from collections import Counter
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

from tests.support.servers import ValkeyForTests
from threadsync.broker.lua import WAITING
from worker.durable.deliveries import unsealed

QUEUES = ("one", "two")


class ChannelMachine(RuleBasedStateMachine):
    """A state machine of publishers, workers and sweeps, whose model is the set of open messages."""

    peers = Bundle("peers")
    held = Bundle("held")

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

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 4), priority=st.sampled_from([None, 0, 6]))
    def publish(self, queue: str, count: int, priority: int | None) -> None:
        for _ in range(count):
            options: Any = {} if priority is None else {"priority": priority}
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


@pytest.mark.timeout(300)
def test_each_message_is_in_one_place_or_has_ended(valkey: ValkeyForTests) -> None:
    """Publishing, taking, acknowledging, rejecting, stops, kills and sweeps lose and double no message."""
    machine: Any = partial(ChannelMachine, valkey)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=120,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

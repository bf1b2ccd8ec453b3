"""One side of a broker: publish messages, take, hold and give them back."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import redis
from kombu import Connection, Consumer, Queue
from kombu.message import Message

from tests.support.waiting import wait_until
from worker.durable.deliveries import unsealed

DURABLE = "worker.durable.transport:DurableTransport"


class Peer:
    """A consumer on a connection of its own; what it got is in ``got``, unacknowledged."""

    def __init__(self, url: str, transport: str, *queues: str, prefetch: int = 0, **options: Any) -> None:
        options = {"visibility_timeout": 3600, "unacked_restore_throttle": 1, **options}
        self.connection: Any = Connection(url, transport=transport, transport_options=options)
        self.channel = cast(Any, self.connection.channel())
        self.channel.basic_qos(0, prefetch, False)
        self.got: list[Message] = []
        self._consumer = Consumer(
            self.channel,
            [Queue(name) for name in queues],
            on_message=lambda message: self.got.append(unsealed(message)),
            accept=["json", "application/data"],
        )
        self._consumer.consume()

    def take(self, count: int = 1) -> list[Message]:
        """Wait until it has ``count`` messages more; returns those."""
        before = len(self.got)
        wait_until(lambda: self._has(before + count), f"{count} messages are there")
        return self.got[before:]

    def _has(self, count: int) -> bool:
        before = -1
        while before < len(self.got) < count:
            before = len(self.got)
            self._drain()
        return len(self.got) >= count

    def look(self) -> bool:
        """Give it the chance to take or to restore something; whether it has anything."""
        for _ in range(4):
            self._drain()
        return bool(self.got)

    def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.3)

    def cancel(self) -> None:
        """Consume no more."""
        self._consumer.cancel()

    def vanish(self) -> None:
        """As SIGKILL leaves it: nothing is handed back."""
        self.channel.do_restore = False
        self.connection.close()


def sweep(peer: Peer) -> None:
    """What a worker does every second, as if the visibility timeout had passed."""
    peer.channel.visibility_timeout = 0
    peer.channel.qos.__dict__.pop("visibility_timeout", None)
    peer.channel.qos.restore_visible()
    peer.channel.visibility_timeout = 3600
    peer.channel.qos.__dict__.pop("visibility_timeout", None)


def publish(url: str, *bodies: Any, queue: str = "q", **options: Any) -> None:
    """As a stock producer does."""
    with Connection(url) as connection:
        for body in bodies:
            connection.Producer().publish(body, routing_key=queue, serializer="json", **options)


def places(server: redis.Redis, queue: str = "q") -> tuple[int, int, int]:
    """How many messages wait, are noted, and are in the index."""
    return int(server.llen(queue)), int(server.hlen("unacked")), int(server.zcard("unacked_index"))

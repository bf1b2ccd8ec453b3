"""Acknowledgements and returns that go out before Celery's event loop waits, for up to a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu import Connection, Consumer, Queue
from kombu.asynchronous.hub import Hub
from kombu.message import Message

from tests.support.waiting import wait_until

QUEUE = "q"


class Looping:
    """A consumer in an event loop that is run round by round."""

    def __init__(self, connection: Any, hub: Any) -> None:
        self.got: list[Message] = []
        self.hub = hub
        consumer = Consumer(connection.channel(), [Queue(QUEUE)], on_message=self.got.append, accept=["json"])
        connection.register_with_event_loop(hub)
        consumer.consume()
        self._rounds = hub.create_loop()
        self._publish = connection.Producer().publish

    def go_round(self) -> None:
        """Run callbacks and timers, and then wait for the next event."""
        next(self._rounds)

    def send(self) -> None:
        self._publish({}, routing_key=QUEUE, serializer="json")

    def take(self) -> Message:
        """Return the next message."""
        before = len(self.got)
        self.send()
        wait_until(lambda: self._brings_more_than(before), "it is there")
        return self.got[before]

    def _brings_more_than(self, before: int) -> bool:
        self.go_round()
        return len(self.got) > before


@contextmanager
def looping(broker_url: str) -> Iterator[Looping]:
    hub: Any = Hub()
    with Connection(broker_url, transport="worker.durable.transport:DurableTransport") as connection:
        try:
            yield Looping(connection, hub)
        finally:
            hub.close()


def test_the_server_hears_of_an_end_before_the_loop_waits(broker_url: str) -> None:
    """An acknowledgement from a callback reaches the server before the event loop waits."""
    with looping(broker_url) as worker, redis.Redis.from_url(broker_url) as server:
        first, second = worker.take(), worker.take()
        for message in (first, second):
            worker.hub.call_soon(message.ack)
        # Otherwise the wait takes a second.
        worker.send()
        worker.go_round()
        assert not {first.delivery_tag, second.delivery_tag} & {
            tag.decode() for tag in server.hkeys("unacked")
        }


def test_a_message_goes_back_before_the_loop_waits(broker_url: str) -> None:
    """A message rejected in a callback is back in its queue before the event loop waits."""
    with looping(broker_url) as worker, redis.Redis.from_url(broker_url) as server:
        message = worker.take()
        worker.hub.call_soon(message.reject, True)
        worker.go_round()
        assert server.hget("unacked_deliveries", message.delivery_tag) == b"1"

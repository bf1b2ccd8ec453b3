"""Let messages that are due later wait in the broker, by Celery's native delayed delivery.

28 queues, in which a message stays for 1, 2, 4, … seconds: its routing key says through which of them it
goes. Celery publishes there when its settings name a quorum queue. Stock clients do not, and ours need not:
whatever arrives before its time is put there by the worker that gets it. They are made when first needed.

https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#native-delayed-delivery
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import amqp
from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Connection
from kombu.message import Message
from kombu.transport.native_delayed_delivery import (
    MAX_LEVEL,
    MAX_NUMBER_OF_BITS_TO_USE,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
    level_name,
)

from worker.durable.rabbitmq.transport import DELAY_PREFIX, DELIVERY_EXCHANGE
from worker.durable.retry_policy import HEADER, read_history

LONGEST_IN_MEMORY_SECONDS: Final = 5
"""Time to a message's due moment up to which it may wait in a worker."""

_SHORTEST_SECONDS: Final = 1
"""The shortest wait that the broker counts."""

_LONGEST_SECONDS: Final = 2**MAX_NUMBER_OF_BITS_TO_USE - 1
"""Longest delay, eight years. A message that is due later goes round again."""

_QUEUE_TYPE: Final = "quorum"
"""Kind of the delay queues; classic ones pass an expired message on without awaiting its arrival."""

# The stubs do not know its prefix.
_declare_delays: Callable[..., None] = declare_native_delayed_delivery_exchanges_and_queues
_ENTRANCE: Final = f"{DELAY_PREFIX}_{level_name(MAX_LEVEL)}"

_LOST: Final = {"delivery_mode", "expiration", "application_headers"}
"""Properties that a copy does not take over as they are."""


class Delays:
    """Publisher into RabbitMQ's delay queues, for a worker's main process."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._bound: set[str] = set()

    def put_away(self, message: Message, *, has_room: bool = True) -> bool:
        """Publish a message to wait, then acknowledge it; False if it is due soon. Raises ``BROKER_ERRORS``.

        ``has_room``: the worker may hold what is due soon.
        """
        seconds = _seconds_until_due(message)
        if seconds is None or seconds <= (LONGEST_IN_MEMORY_SECONDS if has_room else _SHORTEST_SECONDS):
            return False
        with self._app.connection_or_acquire() as connection:
            self._bind(connection, message.delivery_info["routing_key"])
            try:
                _publish(connection, message, min(int(seconds), _LONGEST_SECONDS))
            except AMQPError:
                # The queues may have been deleted.
                self._bound.clear()
                raise
        message.ack()
        return True

    def _bind(self, connection: Connection, queue: str) -> None:
        if not self._bound:
            _declare_delays(connection, _QUEUE_TYPE, DELAY_PREFIX)
        if queue not in self._bound:
            # Celery binds the queue's own exchange, but a direct one knows no such key.
            channel: Any = connection.default_channel
            channel.queue_bind(queue, DELIVERY_EXCHANGE, f"#.{queue}")
            self._bound.add(queue)


def _publish(connection: Connection, message: Message, seconds: int) -> None:
    queue = message.delivery_info["routing_key"]
    properties = {name: value for name, value in message.properties.items() if name not in _LOST}
    headers = {**message.headers, **_without_pause(message.headers)}
    copy = amqp.Message(message.body or "", application_headers=headers, delivery_mode=2, **properties)
    channel: Any = connection.default_channel
    channel.basic_publish(copy, _ENTRANCE, calculate_routing_key(seconds, queue))


def _seconds_until_due(message: Message) -> float | None:
    """Return seconds until a message is due; None if it does not say, or is unreadable by Celery too."""
    pause = read_history(message.headers).pause
    if pause:
        return pause
    try:
        due = datetime.fromisoformat(_eta(message))
        return due.replace(tzinfo=due.tzinfo or UTC).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None


def _without_pause(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of a command's history without its pause, so that it does not wait again."""
    if HEADER not in headers:
        return {}
    return {HEADER: read_history(headers).model_copy(update={"pause": 0.0}).model_dump(mode="json")}


def _eta(message: Message) -> Any:
    if "task" in message.headers:
        return message.headers.get("eta")
    # Celery's first protocol has it in the body.
    body = json.loads(message.body or "")
    return body.get("eta") if isinstance(body, dict) else None

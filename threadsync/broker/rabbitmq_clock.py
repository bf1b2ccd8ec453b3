"""Ask RabbitMQ for its time: AMQP has no call for it, but a message's expiry is noted.

A message that may not wait at all goes into a queue of ours, expires there, and comes to another queue of
ours with that note (``x-death``), in whole seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import amqp

from threadsync.broker.errors import BrokerBlocked
from threadsync.broker.rabbitmq import ConfirmingChannel

_PATIENCE_SECONDS: Final = 0.5


def whole_seconds(channel: ConfirmingChannel) -> float:
    """Return the broker's Unix time in whole seconds. Raises ``TimeoutError`` when no reply comes."""
    if channel.clock is None:
        channel.clock = _Clock(channel)
    now: float = channel.clock.now()
    return now


class _Clock:
    """Two queues on one channel by which the time is asked. They are gone with the connection."""

    def __init__(self, channel: ConfirmingChannel) -> None:
        self._channel = channel
        name = f"threadsync.clock.{uuid4().hex}"
        self._asked, self._answered = f"{name}.asked", f"{name}.answered"
        self._declare(self._answered, {})
        self._declare(
            self._asked,
            {
                "x-message-ttl": 0,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self._answered,
            },
        )

    def now(self) -> float:
        self._channel.publish_unconfirmed(amqp.Message(b""), "", self._asked)
        deadline = monotonic() + _PATIENCE_SECONDS
        while monotonic() < deadline:
            message = self._channel.basic_get(self._answered, no_ack=True)
            if message is not None:
                return _expired_at(message)
        if self._channel.opened.is_blocked:
            raise BrokerBlocked
        raise TimeoutError("the broker did not tell its time")

    def _declare(self, queue: str, arguments: dict[str, Any]) -> None:
        # A virtual host may have another kind by default.
        arguments = {"x-queue-type": "classic", **arguments}
        self._channel.queue_declare(queue, durable=False, exclusive=True, arguments=arguments)


def _expired_at(message: Any) -> float:
    noted: datetime = message.headers["x-death"][0]["time"]
    return noted.replace(tzinfo=UTC).timestamp()

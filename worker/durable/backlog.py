"""How much lies in a queue, asked of any broker."""

from __future__ import annotations

from typing import Any

from amqp.exceptions import ChannelError

from threadsync.broker.producer import ProducerChannel


def messages_and_consumers(connection: Any, queue: str) -> tuple[int, int]:
    """Return both numbers; Valkey and Redis know no consumers: 0. Raises ``BROKER_ERRORS``."""
    channel = connection.default_channel
    if isinstance(channel, ProducerChannel):
        # Not by declaring: kombu asks whether the key exists without its prefix.
        return int(channel._size(queue)), 0
    try:
        # RabbitMQ closes a channel on which a queue is asked for that is not there.
        with connection.channel() as asking:
            declared = asking.queue_declare(queue, passive=True)
    except ChannelError:
        # It is not declared yet.
        return 0, 0
    return int(declared.message_count), int(declared.consumer_count)

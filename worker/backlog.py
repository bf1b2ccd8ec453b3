"""How much lies in a queue, asked of any broker."""

from __future__ import annotations

from typing import Any

from amqp.exceptions import ChannelError

from worker.producer import ProducerChannel


def messages_and_consumers(connection: Any, queue: str) -> tuple[int, int]:
    """Return both numbers; Valkey and Redis know no consumers: 0. Raises ``BROKER_ERRORS``."""
    try:
        if isinstance(connection.default_channel, ProducerChannel):
            # A channel of its own would be a connection of its own.
            declared = connection.default_channel.queue_declare(queue, passive=True)
        else:
            # RabbitMQ closes a channel on which a queue is asked for that is not there.
            with connection.channel() as channel:
                declared = channel.queue_declare(queue, passive=True)
    except ChannelError:
        # So it is empty, as Valkey and Redis keep no empty list; or nobody has declared it yet.
        return 0, 0
    return int(declared.message_count), int(declared.consumer_count)

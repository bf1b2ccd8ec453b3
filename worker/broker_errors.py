"""The errors that say that a broker is away, or refuses: of kombu and of each library below it."""

from __future__ import annotations

from typing import Final

from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import KombuError
from redis import RedisError

BROKER_ERRORS: Final[tuple[type[Exception], ...]] = (
    KombuError,
    RedisError,
    AMQPError,
    # None of py-amqp's other errors.
    MessageNacked,
    OSError,
)

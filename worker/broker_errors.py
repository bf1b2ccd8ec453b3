"""The errors that say that a broker is away, or refuses: of kombu and of each library below it."""

from __future__ import annotations

from typing import Final

from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import KombuError
from redis import RedisError

# MessageNacked is none of py-amqp's other errors.
BROKER_ERRORS: Final = (KombuError, RedisError, AMQPError, MessageNacked, OSError)

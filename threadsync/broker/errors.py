"""Errors of kombu, redis-py and py-amqp that mean that a broker is away or refuses."""

from __future__ import annotations

from typing import Final

from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import KombuError
from redis import BusyLoadingError, RedisError, ResponseError

from threadsync.broker.refusals import FULL_HOUSE

# MessageNacked is none of py-amqp's other errors.
BROKER_ERRORS: Final = (KombuError, RedisError, AMQPError, MessageNacked, OSError)


class BrokerBlocked(TimeoutError):
    """RabbitMQ blocked the connection and then sent nothing more on it."""

    def __init__(self) -> None:
        super().__init__("RabbitMQ has an alarm of memory or disk and takes no message")


_ABOUT_THE_WAY: Final = (
    # RabbitMQ's: no right to it, no such exchange, declared otherwise, no queue behind it; or py-amqp's own,
    # which cannot write such a property.
    *("(403)", "(404)", "(406)", "(312)", "NO_ROUTE", "(501)", "(502)"),
    # Valkey's and Redis': no right to the key, and a key that is no list.
    *("NOPERM", "no permissions", "No permissions", "WRONGTYPE"),
)


def is_about_the_way(error: BaseException) -> bool:
    """Return True for an error of a working broker that every retry would meet again."""
    told = str(error)
    return isinstance(error, BROKER_ERRORS) and any(words in told for words in _ABOUT_THE_WAY)


def is_refusal(error: BaseException | None) -> bool:
    """Return True for a refusal of the server's own, which kombu's errors have as their cause."""
    while error is not None:
        # redis-py takes the last of these for a connection that broke.
        if isinstance(error, ResponseError | BusyLoadingError | BrokerBlocked) or FULL_HOUSE in str(error):
            return True
        error = error.__cause__
    return False

"""Errors of kombu, redis-py and py-amqp that mean that a broker is away or refuses."""

from __future__ import annotations

from typing import Final

from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import KombuError
from redis import BusyLoadingError, RedisError, ResponseError

# MessageNacked is none of py-amqp's other errors.
BROKER_ERRORS: Final = (KombuError, RedisError, AMQPError, MessageNacked, OSError)


class BrokerBlocked(TimeoutError):
    """RabbitMQ blocked the connection and then sent nothing more on it."""

    def __init__(self) -> None:
        super().__init__("RabbitMQ has an alarm of memory or disk and takes no message")


_FULL_HOUSE: Final = "max number of clients"
_REASONS: Final = (
    # Words of Valkey's and Redis' refusals, of which kombu and pipelines pass on nothing but the text.
    (("maxmemory",), "the broker is full and takes no message until workers have made room"),
    (("MISCONF",), "the broker cannot write to its disk and takes no message until it can"),
    (("NOREPLICAS",), "the broker has too few replicas to take a message"),
    (("READONLY", "read only replica"), "the broker is a replica, which takes no message"),
    (("MASTERDOWN", "Link with MASTER is down"), "the broker is a replica without its master"),
    (("loading the dataset",), "the broker is still loading its data"),
    (("BUSY ",), "the broker is held up by a script that does not end"),
    (
        ("NOPERM", "no permissions", "No permissions"),
        "the broker's user may not do that (docs/operate/brokers.md has the rights that it needs)",
    ),
    (
        ("WRONGPASS", "NOAUTH", "invalid username-password", "Authentication required"),
        "the broker refuses our password",
    ),
    (("alarm of memory or disk",), "the broker is full and takes no message until there is room"),
    ((_FULL_HOUSE,), "the broker has no connection left"),
)


def reason_of(error: BaseException) -> str | None:
    """Return in plain words why a broker refused; None for an unknown error."""
    told = str(error)
    return next((reason for words, reason in _REASONS if any(word in told for word in words)), None)


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
        if isinstance(error, ResponseError | BusyLoadingError | BrokerBlocked) or _FULL_HOUSE in str(error):
            return True
        error = error.__cause__
    return False

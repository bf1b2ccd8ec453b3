"""Why a broker refused, in plain words, and as the error that a client raises. No kombu."""

from __future__ import annotations

from typing import Final

import redis

from threadsync.broker.cluster import refuse_cluster_error
from threadsync.errors import EnqueueFailed, InvalidSettings, ThreadsyncError

FULL_HOUSE: Final = "max number of clients"
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
    ((FULL_HOUSE,), "the broker has no connection left"),
)


def reason_of(error: BaseException) -> str | None:
    """Return in plain words why a broker refused; None for an unknown error."""
    told = str(error)
    return next((reason for words, reason in _REASONS if any(word in told for word in words)), None)


def as_ours(error: BaseException) -> ThreadsyncError:
    """Return the error of a sending as one of ours: ``InvalidSettings`` for a Redis Cluster's."""
    if isinstance(error, ThreadsyncError):
        # A new one: several callers may have met the same.
        return type(error)(*error.args)
    try:
        refuse_cluster_error(error)
    except InvalidSettings as refused:
        return refused
    reason = reason_of(error) or "the broker did not take the message"
    return EnqueueFailed(f"{reason}: {type(error).__name__}: {error}")


def ran_out_of_time(error: BaseException | None) -> bool:
    """Return True if the error, or one behind it, is a time-out."""
    while error is not None:
        if isinstance(error, TimeoutError | redis.TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False

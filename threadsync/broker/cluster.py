"""Refuse a Redis Cluster, which Celery cannot use, in a sentence. No kombu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis
from redis.exceptions import AskError, ClusterCrossSlotError, ClusterDownError, MasterDownError

from threadsync.errors import InvalidSettings

_CLUSTER: Final = (
    "the server is a Redis Cluster, which Celery cannot use, because it needs all keys on one node. "
    "Name a single server or Sentinels; Valkey and Redis replicate without a cluster too"
)
_OF_CLUSTER: Final = (AskError, ClusterCrossSlotError, ClusterDownError)


def refuse_cluster(client: Any) -> None:
    """Raise ``InvalidSettings`` where ``client`` speaks with a Redis Cluster."""
    try:
        # Every user may say it, whatever its ACL.
        greeting = client.execute_command("HELLO")
    except redis.ResponseError:
        # Older than Redis 6, or something in between: its errors will tell.
        return
    refuse_cluster_greeting(greeting)


def refuse_cluster_greeting(greeting: Any) -> None:
    """Raise ``InvalidSettings`` if this reply to HELLO is a cluster's."""
    pairs = (
        greeting.items()
        if isinstance(greeting, Mapping)
        else zip(greeting[::2], greeting[1::2], strict=False)
    )
    if any(name in (b"mode", "mode") and mode in (b"cluster", "cluster") for name, mode in pairs):
        raise InvalidSettings(_CLUSTER)


def refuse_cluster_error(error: BaseException | None) -> None:
    """Raise ``InvalidSettings`` if the error, or one behind it, is of a Redis Cluster alone."""
    while error is not None:
        # MASTERDOWN is a subclass too, and comes from a lonely replica.
        if isinstance(error, _OF_CLUSTER) and not isinstance(error, MasterDownError):
            raise InvalidSettings(_CLUSTER) from None
        error = error.__cause__

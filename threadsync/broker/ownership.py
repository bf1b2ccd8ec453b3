"""The owner's id in a broker database, and the refusal of another's. No kombu.

``threadsync.broker.installation`` reads, claims and takes over; ADR 14 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis

KEY: Final = "threadsync.installation"
OPTION: Final = "installation"
"""Transport option with our installation's id."""


class OthersConnection(redis.ConnectionError):
    """Refusal of another installation's broker, on a connection that was just opened."""


def refusal(ours: str, theirs: str) -> str:
    """Return the sentence for the operator who has configured this broker."""
    return (
        f"this broker database belongs to another installation, {theirs}; ours is {ours}. Its commands would "
        "be carried out in our database. Set CELERY_BROKER_URL to a database, key prefix or vhost of our own"
        "; or, if the other one no longer exists: threadsync installation adopt --reason …"
    )


def refuse_others(connection: Any, key: str, ours: str) -> None:
    """Raise ``OthersConnection`` if the server that redis-py has just connected to is another's."""
    try:
        connection.send_command("GET", key)
        theirs = connection.read_response()
    except redis.ResponseError:
        # The broker's user may not read it; the doctor reports that.
        return
    try:
        refuse_owner(theirs, ours)
    except OthersConnection:
        connection.disconnect()
        raise


def refuse_owner(theirs: bytes | str | None, ours: str) -> None:
    """Raise ``OthersConnection`` if the id that the server has is another's."""
    owner = theirs.decode() if isinstance(theirs, bytes) else theirs
    if owner is not None and owner != ours:
        raise OthersConnection(refusal(ours, owner))


def options_for(installation: str | None) -> Mapping[str, str]:
    """Return the transport options of an app that knows its installation's id."""
    return {OPTION: installation} if installation else {}

"""Bound the open connections: when all places are taken, the slowest connection is dropped."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from math import inf
from typing import Final, Literal, Protocol

Stage = Literal["head", "unread", "body", "page", "answer"]
"""The state of a connection: waiting for headers, for the peer to read, for a body; or responding with a page
or probe, or to Slack."""

MOST_CONNECTIONS: Final = 2_000
_FAIR_SECONDS: Final = 1.0
"""Time after which a connection that keeps us waiting is dropped before any page."""

_DESCRIPTORS_FOR_OTHERS: Final = 256
"""Descriptors for broker, Postgres, Slack's API, logs, and connections without a place yet."""

_LEAST_CONNECTIONS: Final = 64
_ROUNDS: Final = 8
"""Rounds of the event loop in which a connection, or the one dropped for it, has a descriptor and no place.
Without descriptors asyncio stops accepting for a second, and logs an error for each."""

_ROUNDS_TO_ANSWER: Final = 16
"""Least rounds in which new connections take all places. A request needs about six, to be accepted, read and
asked for its body; in fewer rounds it would give way to others before it is read."""

_ENOUGH_DESCRIPTORS: Final = 65_536


class Connection(Protocol):
    """An open connection of the server."""

    def drop(self) -> None:
        """Close the connection now, whatever its state."""


class Connections:
    """All open connections, in the order in which they entered their stage.

    Of those that keep us waiting the oldest is dropped, whatever its stage: a new connection, whose request
    is about to arrive, must not lose to others that have sent half a body. Nor to pages in progress: if none
    has waited for long, the oldest page is dropped if it is older. A response to Slack is never dropped.
    """

    def __init__(self, most: int = MOST_CONNECTIONS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._monotonic = monotonic
        # With the time of entering the stage.
        self._waited_for: dict[Connection, float] = {}
        self._pages: dict[Connection, float] = {}
        self._answers: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._waited_for) + len(self._pages) + len(self._answers)

    def admit(self, connection: Connection) -> bool:
        """Admit a new connection, dropping another if needed. False: all places are responses to Slack."""
        if len(self) >= self._most:
            slowest = self._slowest()
            if slowest is None:
                return False
            self.remove(slowest)
            slowest.drop()
        self._waited_for[connection] = self._monotonic()
        return True

    def move(self, connection: Connection, stage: Stage) -> None:
        """Move a connection to the end of a stage. A removed one stays removed."""
        if self._is_known(connection):
            self.remove(connection)
            self._all_in(stage)[connection] = self._monotonic()

    def remove(self, connection: Connection) -> None:
        """Remove a connection, if it is still there."""
        for connections in (self._waited_for, self._pages, self._answers):
            connections.pop(connection, None)

    def _is_known(self, connection: Connection) -> bool:
        return any(connection in some for some in (self._waited_for, self._pages, self._answers))

    def _slowest(self) -> Connection | None:
        if not self._waited_for:
            return next(iter(self._pages), None)
        waited_for, since = next(iter(self._waited_for.items()))
        page, asked = next(iter(self._pages.items()), (waited_for, inf))
        return page if asked < since and self._monotonic() - since < _FAIR_SECONDS else waited_for

    def _all_in(self, stage: Stage) -> dict[Connection, float]:
        match stage:
            case "page":
                return self._pages
            case "answer":
                return self._answers
            case _:
                return self._waited_for


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return it. The usual 1,024 are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft if soft != resource.RLIM_INFINITY else _ENOUGH_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def places(descriptors: int) -> int:
    """Return the number of connections that a process may hold."""
    return max(_LEAST_CONNECTIONS, min(MOST_CONNECTIONS, descriptors - _DESCRIPTORS_FOR_OTHERS))


def accepted_at_once(descriptors: int) -> int:
    """Return the number of connections to accept in one round of the event loop."""
    held = places(descriptors)
    return max(1, min(held // _ROUNDS_TO_ANSWER, (descriptors - held) // _ROUNDS))

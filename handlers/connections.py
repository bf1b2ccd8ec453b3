"""A bound on open connections: when all places are taken, the one that keeps us waiting longest gives way."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from math import inf
from typing import Final, Literal, Protocol

Stage = Literal["head", "unread", "body", "page", "answer"]
"""Where a connection stands: headers are awaited, a peer does not read our answer, a body is awaited, a page
or a probe is being answered, or Slack is."""

MOST_CONNECTIONS: Final = 2_000
_FAIR_SECONDS: Final = 1.0
"""A connection that has kept us waiting for so long goes before any page."""

_DESCRIPTORS_FOR_OTHERS: Final = 256
"""Descriptors of the broker, Postgres, Slack's API and logs, and of connections that have no place yet."""

_LEAST_CONNECTIONS: Final = 64
_MOST_AT_ONCE: Final = 1_024
"""Where descriptors allow it a whole flood: who is accepted has a share of each turn of the event loop, while
those whom the kernel keeps wait until the ones before them are done."""

_TURNS: Final = 8
"""Turns of the event loop in which a connection, or the one that gives way to it, has a descriptor and no
place. When descriptors run out, asyncio stops accepting for a second and logs an error for each."""

_ENOUGH_DESCRIPTORS: Final = 65_536


class Connection(Protocol):
    """An open connection of the server's."""

    def drop(self) -> None:
        """Close it now, whatever was under way."""


class Connections:
    """All open connections, in the order in which they came to their stage.

    Of those that keep us waiting the first one gives way, whatever it waits for: a new connection, whose
    request comes in the next moment, must not be the first to go only because the others have sent half a
    body each. Nor must it when the others are pages that are being answered: unless one has kept us waiting
    for a while, the first page goes if it came earlier. An answer to Slack is never dropped.
    """

    def __init__(self, most: int = MOST_CONNECTIONS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._monotonic = monotonic
        # With the time of their coming.
        self._waited_for: dict[Connection, float] = {}
        self._pages: dict[Connection, float] = {}
        self._answers: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._waited_for) + len(self._pages) + len(self._answers)

    def admit(self, connection: Connection) -> bool:
        """Take a new one in, in another one's place if need be. False: all places are answers to Slack."""
        if len(self) >= self._most:
            slowest = self._slowest()
            if slowest is None:
                return False
            self.remove(slowest)
            slowest.drop()
        self._waited_for[connection] = self._monotonic()
        return True

    def move(self, connection: Connection, stage: Stage) -> None:
        """Put it last in a stage. One that was removed stays away."""
        if self._is_known(connection):
            self.remove(connection)
            self._all_in(stage)[connection] = self._monotonic()

    def remove(self, connection: Connection) -> None:
        """Forget it. It may have been removed before."""
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
    """Raise the soft limit of open files to the hard one, and return it. A shell's 1,024 are soon taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft if soft != resource.RLIM_INFINITY else _ENOUGH_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def places(descriptors: int) -> int:
    """Return how many connections a process with so many descriptors may hold."""
    return max(_LEAST_CONNECTIONS, min(MOST_CONNECTIONS, descriptors - _DESCRIPTORS_FOR_OTHERS))


def accepted_at_once(descriptors: int) -> int:
    """Return how many connections may be accepted in one turn of the event loop, before any has its place."""
    return max(1, min(_MOST_AT_ONCE, (descriptors - places(descriptors)) // _TURNS))

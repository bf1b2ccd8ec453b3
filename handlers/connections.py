"""A bound on open connections: when all places are taken, the one that keeps us waiting longest gives way."""

from __future__ import annotations

import resource
from typing import Final, Literal, Protocol

Stage = Literal["head", "unread", "body", "answer"]
"""What a connection waits for: a request's headers, a peer who reads our answer, a body, or our answer."""

MOST_CONNECTIONS: Final = 2_000
_DESCRIPTORS_FOR_OTHERS: Final = 256
"""For the broker, Postgres, Slack's API, logs, and what is accepted before its turn comes."""

_LEAST_CONNECTIONS: Final = 64
_ENOUGH_DESCRIPTORS: Final = 65_536


class Connection(Protocol):
    """An open connection of the server's."""

    def drop(self) -> None:
        """Close it now, whatever was under way."""


class Connections:
    """All open connections, by stage, each stage in the order in which they came to it.

    A connection that is being answered is never dropped for another one.
    """

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._by_stage: dict[Stage, dict[Connection, None]] = {
            "head": {},
            "unread": {},
            "body": {},
            "answer": {},
        }
        self._stages: dict[Connection, Stage] = {}

    def __len__(self) -> int:
        return len(self._stages)

    def admit(self, connection: Connection) -> bool:
        """Take a new one in; if there is no place for it, the slowest goes. False: all are being answered."""
        if len(self) >= self._most:
            slowest = self._slowest()
            if slowest is None:
                return False
            self.remove(slowest)
            slowest.drop()
        self.move(connection, "head")
        return True

    def move(self, connection: Connection, stage: Stage) -> None:
        """Put it last in a stage."""
        self.remove(connection)
        self._stages[connection] = stage
        self._by_stage[stage][connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget it. It may have been removed before."""
        stage = self._stages.pop(connection, None)
        if stage:
            del self._by_stage[stage][connection]

    def _slowest(self) -> Connection | None:
        for stage, connections in self._by_stage.items():
            if connections and stage != "answer":
                return next(iter(connections))
        return None


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

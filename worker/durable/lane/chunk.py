"""Chunks of messages of the fast lane, and what passes between the main process and a child."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from worker.durable.raw_message import Tag


class Channel(Protocol):
    """The parts of a channel that the lane uses: the messages are noted there until they end."""

    @property
    def closed(self) -> bool: ...

    @property
    def qos(self) -> Any: ...

    def take_ordinary_road(self, chunk: Chunk) -> None: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that TAKE brought from one queue, as they are, and the tags that they have there."""

    queue: str
    messages: Sequence[bytes]
    tags: Sequence[Tag]
    channel: Channel

    @classmethod
    def of(cls, queue: bytes, messages: bytes, tags: bytes, channel: Channel) -> Self:
        """Read TAKE's reply, which has a message and a tag a line."""
        return cls(queue.decode(), messages.split(b"\n"), tags.decode().split("\n"), channel)

    def only(self, places: Sequence[int]) -> Chunk:
        """Return the messages at these places."""
        messages = [self.messages[place] for place in places]
        return Chunk(self.queue, messages, [self.tags[place] for place in places], self.channel)

    def joined(self, other: Chunk) -> Chunk:
        """Return the messages of both, which are of one queue and one channel."""
        return Chunk(self.queue, [*self.messages, *other.messages], [*self.tags, *other.tags], self.channel)

    def __len__(self) -> int:
        return len(self.tags)


class Door(Protocol):
    """The lane, as a channel knows it."""

    def names(self) -> str:
        """Return the names of the commands that may take it, as ``|one|other|``; empty while it is closed."""

    def take(self, chunk: Chunk) -> None:
        """Carry the chunk out as soon as a child is free."""


class Job(NamedTuple):
    """The work of a child.

    Attributes:
        revoked: ids of commands that are not to be run.
        hostname: the worker's name in events; empty if none are to be sent.
        clock: Celery's logical clock, from which on the events are numbered.
        pid: the main process's.
    """

    messages: Sequence[bytes]
    tags: Sequence[Tag]
    revoked: frozenset[str]
    hostname: str
    clock: int
    pid: int


class Outcome(NamedTuple):
    """The end of a chunk. It is pickled on its way to the main process, its defaults too.

    Attributes:
        left_over: places of the messages that take the ordinary road.
        is_told: True if the broker knows of the end of all others.
        counts: commands carried out, by name.
        clock: as it is after the last event.
        is_away: True if Postgres was not there: the lane rests for a moment.
    """

    left_over: Sequence[int]
    is_told: bool = True
    counts: Sequence[tuple[str, int]] = ()
    clock: int = 0
    is_away: bool = False

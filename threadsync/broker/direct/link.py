"""One open connection to the broker: what is on its way, and whose the next reply is.

Requests of several callers go in one write. Replies come in their order and each is counted, so that one
whose caller has gone is read and dropped, and no other caller gets it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import finalize

import redis

from threadsync.broker.deadline import AT_ONCE_SECONDS
from threadsync.broker.direct.parcel import Parcel
from threadsync.broker.direct.wire import Replies

BROKEN: Final = (OSError, redis.RedisError)
"""Errors after which a connection is of no use, or for which there is none."""

_CHUNK: Final = 65_536
_SURELY_TAKEN: Final = 16_384
"""Size of what a socket takes at once, as nothing else is in it."""

_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Link:
    """A connection that redis-py has opened, and the parcels on it.

    Args:
        connection: redis-py's; nothing else reads or writes on it.
        declaration: returns the requests that make a queue known, and their number.
    """

    def __init__(self, connection: Any, declaration: Callable[[str], tuple[bytes, int]]) -> None:
        # Also when nobody uses the link any more: Python would take the socket apart first, and warn.
        self._hang_up = finalize(self, connection.disconnect)
        self._declaration = declaration
        self._declared: set[str] = set()
        self._replies = Replies()
        self._batch: list[tuple[Parcel, tuple[str, ...], int]] = []
        self._place = 0
        self._extra: list[Any] = []
        self._seconds: float | None = None
        self.socket: Any = connection._sock
        self._limit(AT_ONCE_SECONDS)

    def begin(self, parcels: Sequence[Parcel]) -> bytes:
        """Return what to write for the parcels; all that were begun before have their replies."""
        self._batch, self._place, self._extra = [], 0, []
        written, declared = [], self._declared
        for parcel in parcels:
            parcel.replies.clear()
            queues: tuple[str, ...] = ()
            before = []
            if not declared.issuperset(parcel.queues):
                queues = tuple(queue for queue in parcel.queues if queue not in declared)
                declared = declared.union(queues)
                before = [self._declaration(queue) for queue in queues]
                written += [data for data, _ in before]
            written.append(parcel.data)
            self._batch.append((parcel, queues, sum(count for _, count in before) if before else 0))
        return b"".join(written) if len(written) > 1 else written[0]

    @property
    def is_owed_nothing(self) -> bool:
        """Return True if all that was begun has its replies."""
        return self._place == len(self._batch)

    def feed(self, data: bytes) -> int:
        """Give the replies to their parcels; return how many have come with these data.

        Raises what means that this connection is of no use, such as ``redis.ReadOnlyError``.
        """
        if not data:
            raise redis.ConnectionError("Connection closed by server.")
        replies = self._replies.feed(data)
        for reply in replies:
            if isinstance(reply, redis.ReadOnlyError):
                raise reply
            if self.is_owed_nothing:
                raise redis.InvalidResponse("the broker replied to nothing")
            self._take(reply)
        return len(replies)

    def _take(self, reply: Any) -> None:
        parcel, queues, extra = self._batch[self._place]
        if len(self._extra) < extra:
            self._extra.append(reply)
        else:
            parcel.replies.append(reply)
        if len(parcel.replies) < parcel.expected:
            return
        if extra:
            refused = [told for told in self._extra if isinstance(told, Exception)]
            if refused:
                parcel.replies.append(refused[0])
            else:
                self._declared.update(queues)
            self._extra = []
        parcel.is_answered = True
        self._place += 1

    def write(self, data: bytes, seconds: float) -> None:
        """Write everything. Raises ``TimeoutError`` if that is not done within so many seconds."""
        if len(data) > _SURELY_TAKEN:
            self._limit(seconds)
        self.socket.sendall(data)

    def read(self, seconds: float) -> bytes | None:
        """Wait for data; return None if there are none within so many seconds."""
        self._limit(seconds)
        try:
            return bytes(self.socket.recv(_CHUNK))
        except TimeoutError:
            return None

    def _limit(self, seconds: float | None) -> None:
        # It is a system call, which most messages need not make.
        if seconds != self._seconds:
            self.socket.settimeout(seconds)
            self._seconds = seconds

    def never_wait(self) -> None:
        """Let ``send_some`` and ``receive_some`` return at once."""
        self._limit(0)

    def send_some(self, data: memoryview) -> int:
        """Write what there is room for, without waiting; return how many bytes that was."""
        try:
            return int(self.socket.send(data))
        except _NOT_NOW:
            return 0

    def receive_some(self) -> bytes | None:
        """Read what there is, without waiting; None if there is nothing."""
        try:
            return bytes(self.socket.recv(_CHUNK))
        except _NOT_NOW:
            return None

    def close(self) -> None:
        """Hang up. A reply that is on its way is read by none."""
        self._hang_up()

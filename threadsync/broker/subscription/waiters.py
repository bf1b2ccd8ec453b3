"""Keep who waits for which result, and say what to ask the server. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from threadsync.broker.subscription.resp3 import ProtocolError, Push, Reader, Refusal, Reply, Value

MOST_BYTES: Final = 262_144
"""Longest result to read here. A server hangs up on subscribers that have many megabytes to come."""

_NO_RIGHT: Final = "NOPERM"
_FOR_GOOD: Final = (_NO_RIGHT, "ERR ")
"""Beginnings of refusals that stay: no right, no such command. BUSY, for instance, passes."""


class Elsewhere(Enum):
    """News that are no result, and say where to look for one."""

    BY_ITSELF = "look once, on a connection of your own: the result is long, or the server refuses to read it"
    BY_POLLING = "look again and again: this subscription brings nothing"

    @property
    def is_lasting(self) -> bool:
        """True if no more news will come."""
        return self is Elsewhere.BY_POLLING


News = bytes | Elsewhere


class Waiter(Protocol):
    """Whoever waits for a result."""

    def tell(self, news: News) -> None:
        """Take the stored result, which may be one that is to change: then wait on."""


class _Asked(Enum):
    LOOK = b"GETRANGE"
    SUBSCRIBE = b"SUBSCRIBE"
    UNSUBSCRIBE = b"UNSUBSCRIBE"


_CONFIRMED: Final = {b"subscribe": _Asked.SUBSCRIBE, b"unsubscribe": _Asked.UNSUBSCRIBE}
_FIRST_BYTES: Final = b"$1\r\n0\r\n$%d\r\n%d\r\n" % (len(str(MOST_BYTES)), MOST_BYTES)


@dataclass
class _Key:
    waiters: list[Waiter] = field(default_factory=list)
    is_subscribed: bool = False


class Waiters:
    """Waiters by key, and one connection's commands that have no reply yet.

    A key is also the name of its channel, as Celery has it. ``out`` collects what is to be sent.
    """

    def __init__(self) -> None:
        self.out = bytearray()
        self.refused: str | None = None
        """The server's words, once it refuses to let us subscribe or read."""
        self._keys: dict[bytes, _Key] = {}
        self._asked: deque[tuple[_Asked, bytes]] = deque()
        self._reader = _new_reader()
        self._is_connected = False

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def is_owed(self) -> bool:
        """True while a reply is to come."""
        return bool(self._asked)

    def enter(self, key: bytes, waiter: Waiter) -> None:
        """Wait for the key: look, then subscribe unless it is there."""
        self._keys.setdefault(key, _Key()).waiters.append(waiter)
        self._ask(_Asked.LOOK, key)

    def stay(self, key: bytes) -> None:
        """Wait on: what is there is not the end."""
        if self._keys[key].is_subscribed:
            return
        self._subscribe(key)

    def look_again(self, key: bytes) -> None:
        """Look without having been called: a message may have been lost."""
        self._ask(_Asked.LOOK, key)

    def leave(self, key: bytes, waiter: Waiter) -> None:
        """Wait no more, with or without a result."""
        here = self._keys.get(key)
        if here is None or waiter not in here.waiters:
            return
        here.waiters.remove(waiter)
        if here.waiters:
            return
        del self._keys[key]
        if here.is_subscribed:
            self._ask(_Asked.UNSUBSCRIBE, key)

    def disconnected(self) -> None:
        """Forget what was asked on a connection that is gone. Until the next one nothing is asked."""
        self._is_connected = False
        self._asked.clear()
        self.out.clear()
        self._reader = _new_reader()

    def connected(self) -> None:
        """Subscribe again for all, and look: messages may have been missed meanwhile."""
        self.disconnected()
        self._is_connected = True
        for key, here in self._keys.items():
            if here.is_subscribed:
                self._ask(_Asked.SUBSCRIBE, key)
            self._ask(_Asked.LOOK, key)

    def received(self, data: bytes) -> None:
        """Take what the server sent. Raises ``ProtocolError``: then this connection is of no use."""
        for reply in self._reader.feed(data):
            self._take(reply)

    def give_up(self) -> None:
        """Let all look for themselves."""
        for here in self._keys.values():
            _tell(here, Elsewhere.BY_POLLING)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Push):
            if reply.kind in _CONFIRMED:
                self._next(_CONFIRMED[reply.kind], reply.channel)
            elif reply.channel in self._keys:
                self._ask(_Asked.LOOK, reply.channel)
        elif isinstance(reply, Value):
            key = self._next(_Asked.LOOK)
            if here := self._keys.get(key):
                self._found(key, here, reply.text)
        else:
            self._refused(reply)

    def _found(self, key: bytes, here: _Key, text: bytes | None) -> None:
        # GETRANGE returns an empty string where there is no key.
        if text:
            _tell(here, text if len(text) <= MOST_BYTES else Elsewhere.BY_ITSELF)
        elif not here.is_subscribed:
            self._subscribe(key)

    def _refused(self, refusal: Refusal) -> None:
        if not self._asked:
            raise ProtocolError("an error that nothing was asked for")
        asked, key = self._asked.popleft()
        if refusal.text.startswith(_NO_RIGHT if asked is _Asked.LOOK else _FOR_GOOD):
            self.refused = refusal.text
            self.give_up()
        elif asked is not _Asked.LOOK:
            raise ProtocolError(refusal.text)
        elif here := self._keys.get(key):
            _tell(here, Elsewhere.BY_ITSELF)

    def _subscribe(self, key: bytes) -> None:
        self._keys[key].is_subscribed = True
        self._ask(_Asked.SUBSCRIBE, key)
        self._ask(_Asked.LOOK, key)

    def _ask(self, asked: _Asked, key: bytes) -> None:
        if not self._is_connected or self.refused is not None:
            return
        more, arguments = (_FIRST_BYTES, 4) if asked is _Asked.LOOK else (b"", 2)
        name = asked.value
        self.out += b"*%d\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % (
            arguments, len(name), name, len(key), key, more,
        )  # fmt: skip
        self._asked.append((asked, key))

    def _next(self, expected: _Asked, key: bytes | None = None) -> bytes:
        """Return the key of the first command without a reply, which must be this one."""
        asked, of = self._asked.popleft() if self._asked else (None, b"")
        if asked is not expected or key not in (None, of):
            raise ProtocolError(f"a reply to {expected.value!r} that was not asked")
        return of


def _tell(here: _Key, news: News) -> None:
    for waiter in here.waiters:
        waiter.tell(news)


def _new_reader() -> Reader:
    return Reader(MOST_BYTES + 1)

"""The connection between waiters and the server, without blocking. For one thread at a time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from weakref import finalize

from redis import AuthenticationError, ResponseError

from threadsync.broker.subscription.opening import Connect, Opening
from threadsync.broker.subscription.resp3 import ProtocolError
from threadsync.broker.subscription.waiters import Elsewhere, Waiter, Waiters

_AT_ONCE: Final = 65_536
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_REFUSALS: Final = (ResponseError, AuthenticationError)
"""Replies of a server that knows no RESP3, or lets the user not in: by polling the reason is found, too."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""The first and the longest pause before connecting again after a failure, or a connection of no duration."""

_LASTING_SECONDS: Final = 1.0
"""Age from which a connection that is lost is renewed at once."""

SILENCE_SECONDS: Final = 1.0
"""Time without a reply that is due, after which a connection counts as lost."""

FIRST_LOOK_SECONDS: Final = 0.25
LONGEST_LOOK_SECONDS: Final = 1.0
"""Pauses between looks without a message, the first one and the longest: a message may have been lost."""


class Line:
    """A connection that is opened when somebody waits, and again whenever it is lost while somebody does.

    Args:
        call: calls a function where the line may be used: in its loop, or with its lock held.
        changed: is called after each connect, and before each disconnect, when ``socket`` is None already.
        refused: is told the server's words if it refuses the subscription.
    """

    def __init__(
        self,
        connect: Connect,
        call: Callable[[Callable[[], None]], bool],
        changed: Callable[[], None],
        refused: Callable[[str], None],
    ) -> None:
        self.waiters = Waiters()
        self.socket: Any = None
        self._connect = connect
        self._call = call
        self._changed = changed
        self._tell_refusal = refused
        # Not the other way round too, so that it hangs up when nobody uses the line any more.
        self._held = _Held()
        finalize(self, self._held.hang_up)
        self._opening: Opening | None = None
        self._is_closed = False
        self._is_refused = False
        self._began_at = self._heard_at = 0.0
        self._pause = 0.0

    @property
    def wants_to_send(self) -> bool:
        """True while the socket has no room for what is to be sent."""
        return bool(self.waiters.out)

    def enter(self, key: bytes, waiter: Waiter) -> None:
        """Wait for the result under the key."""
        if self.waiters.refused is not None:
            self.waiters.enter(key, waiter)
            waiter.tell(Elsewhere.BY_POLLING)
            return
        if not self.waiters:
            # Nobody has read since.
            self._heard_at = monotonic()
        self._note_question()
        self.waiters.enter(key, waiter)
        self._go_on()

    def stay(self, key: bytes) -> None:
        """Wait on: what is there is not the end."""
        self._note_question()
        self.waiters.stay(key)
        self._go_on()

    def leave(self, key: bytes, waiter: Waiter) -> None:
        """Wait no more."""
        self._note_question()
        self.waiters.leave(key, waiter)
        self.flush()
        if not self.waiters:
            self._rest()

    def look_again(self, key: bytes) -> None:
        """Look without having been called. A server that has long been silent is connected again."""
        self.read()
        if self._is_silent():
            self.lose()
        else:
            self._note_question()
            self.waiters.look_again(key)
            self._go_on()

    def read(self) -> None:
        """Take what has come, and send what follows from it."""
        try:
            while self.socket is not None:
                data = self.socket.recv(_AT_ONCE)
                if not data:
                    self.lose()
                    return
                self._heard_at = monotonic()
                self.waiters.received(data)
                if not self._has_more():
                    break
        except _NOT_NOW:
            pass
        except (OSError, ProtocolError):
            self.lose()
            return
        # Also what interrupts a thread: a reply may be lost by it.
        except BaseException:
            self.lose()
            raise
        self._end_if_refused()
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, as far as the socket takes it."""
        out = self.waiters.out
        if self.socket is None or not out:
            return
        try:
            sent = self.socket.send(out)
        except _NOT_NOW:
            return
        except OSError:
            self.lose()
            return
        except BaseException:
            self.lose()
            raise
        del out[:sent]

    def lose(self) -> None:
        """Hang up, and connect again if somebody waits."""
        if self.socket is not None:
            has_lasted = monotonic() - self._began_at > _LASTING_SECONDS
            self._pause = 0.0 if has_lasted else _longer(self._pause)
        self._hang_up()
        if self.waiters:
            self._open()

    def drop(self) -> None:
        """Hang up, and forget those who wait: their loop is closed."""
        self.waiters = Waiters()
        self.close()

    def close(self) -> None:
        """Hang up. Those who wait go on; the last of them hangs up again."""
        self._is_closed = True
        self.lose()
        self._rest()

    def _go_on(self) -> None:
        if self.socket is None:
            self._open()
        else:
            self.flush()

    def _rest(self) -> None:
        if self._is_closed and not self.waiters:
            self._hang_up()
            if self._opening is not None:
                self._opening.end()
                self._opening = None

    def _open(self) -> None:
        if self._opening is not None or self.waiters.refused is not None:
            return
        try:
            self._opening = Opening(self._connect, self._pause, self._opened)
        except RuntimeError:
            # No thread can be started, at the end of a process for instance.
            self.waiters.give_up()

    def _opened(self, opening: Opening, found: Any) -> None:
        if not self._call(lambda: self._take(opening, found)) and not isinstance(found, Exception):
            found.disconnect()

    def _take(self, opening: Opening, found: Any) -> None:
        if opening is not self._opening:
            if not isinstance(found, Exception):
                found.disconnect()
            return
        self._opening = None
        if isinstance(found, _REFUSALS):
            self.waiters.refused = str(found)
            self._end_if_refused()
        elif isinstance(found, Exception):
            self._pause = _longer(self._pause)
            if self.waiters:
                self._open()
        else:
            self._begin(found)

    def _begin(self, connection: Any) -> None:
        self._held.connection, self.socket = connection, connection._sock
        self.socket.setblocking(False)
        self._began_at = self._heard_at = monotonic()
        self.waiters.connected()
        self._changed()
        self.flush()

    def _end_if_refused(self) -> None:
        words = self.waiters.refused
        if words is not None and not self._is_refused:
            self._is_refused = True
            self._tell_refusal(words)
            self._hang_up()
            self.waiters.give_up()

    def _hang_up(self) -> None:
        self.waiters.disconnected()
        if self.socket is None:
            return
        self.socket = None
        self._changed()
        self._held.hang_up()

    def _note_question(self) -> None:
        if not self.waiters.is_owed:
            self._heard_at = monotonic()

    def _is_silent(self) -> bool:
        return self.waiters.is_owed and monotonic() - self._heard_at > SILENCE_SECONDS

    def _has_more(self) -> bool:
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0


class _Held:
    """The open connection, if there is one."""

    def __init__(self) -> None:
        self.connection: Any = None

    def hang_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(OSError):
                connection.disconnect()


def _longer(pause: float) -> float:
    return min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)

"""Signing in: so many tries a second, in a short queue, so that people come in while others guess."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

_TRIES_A_SECOND: Final = 100
_MOST_WAITING: Final = 400
"""Four seconds of tries."""

_NETWORK_BITS: Final = 64
"""Bits of an IPv6 address that name a subscriber, who has at least such a network."""

HasLeft = Callable[[], Awaitable[bool]]


class Door:
    """Compares passwords in constant time, and so many a second that guessing is hopeless.

    A try waits for its turn before it is looked at, the right one like the others: how long an answer takes
    says nothing about it. No address is locked out, and none waits for longer than the queue is.
    """

    def __init__(self, password: str) -> None:
        self._digest = _digest(password)
        self._turns = Turns(1 / _TRIES_A_SECOND, _MOST_WAITING)

    async def opens(self, password: str, address: str | None, has_left: HasLeft) -> bool | None:
        """Return True for the password, False for another one; None when too many try at once."""
        if not await self._turns.wait(_network(address), has_left):
            return None
        return hmac.compare_digest(_digest(password), self._digest)


class Turns:
    """Grants a turn every ``seconds``; who came first is first.

    When more than ``most`` wait, the last one of the longest line is sent away. So the longest wait is known,
    and a crowd of one line keeps out itself alone.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        # In the order in which they came, with their line.
        self._waiting: dict[asyncio.Future[bool], str] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, line: str, has_left: HasLeft) -> bool:
        """True when it is one's turn, False when there was no room or the visitor has left."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = line
        if len(self._waiting) > self._most:
            self._send_away()
        if self._timer is None:
            self._grant()
        try:
            is_granted = await turn
        finally:
            self._waiting.pop(turn, None)
        if is_granted and await has_left():
            # The next one has its turn at once: a visitor who asks and goes delays no other.
            self._grant()
            return False
        return is_granted

    @property
    def waiting(self) -> int:
        """The number of tries whose turn has not come."""
        return len(self._waiting)

    def _grant(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # One that was cancelled takes no turn.
        while self._waiting:
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            if not turn.done():
                turn.set_result(True)
                self._timer = asyncio.get_running_loop().call_later(self._seconds, self._grant)
                return

    def _send_away(self) -> None:
        lines = Counter(self._waiting.values())
        longest = max(lines.values())
        last = next(turn for turn, line in reversed(self._waiting.items()) if lines[line] == longest)
        del self._waiting[last]
        if not last.done():
            last.set_result(False)


def _digest(password: str) -> bytes:
    """Hash a password to one length; it does not matter how a keyboard composes a letter."""
    plain = unicodedata.normalize("NFC", password.strip())
    return blake2b(plain.encode("utf-8", "surrogatepass")).digest()


def _network(address: str | None) -> str:
    """The address as one line in the queue: a subscriber's, who has a whole network of IPv6."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return str(address)
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), _NETWORK_BITS), strict=False))

"""Limit sign-in attempts by a short, fair queue, so that operators get in while others guess passwords."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

_ATTEMPTS_PER_SECOND: Final = 100
_MOST_WAITING: Final = 400
"""Most waiting attempts, four seconds' worth."""

_NETWORK_BITS: Final = 64
"""Bits of an IPv6 address that identify a subscriber."""

HasLeft = Callable[[], Awaitable[bool]]


class Door:
    """Compare passwords in constant time, at a rate that makes guessing hopeless.

    Every attempt waits in the queue before it is checked, so the response time says nothing about the
    password. No address is locked out, and the longest wait is the length of the queue.
    """

    def __init__(self, password: str) -> None:
        self._digest = _digest(password)
        self._queue = FairQueue(1 / _ATTEMPTS_PER_SECOND, _MOST_WAITING)

    async def opens(self, password: str, address: str | None, has_left: HasLeft) -> bool | None:
        """Return True for the password, False for another one; None when the queue is full."""
        if not await self._queue.wait(_network(address), has_left):
            return None
        return hmac.compare_digest(_digest(password), self._digest)


class FairQueue:
    """Admit one waiter every ``seconds``, first come, first served.

    When more than ``most`` wait, the last waiter of the busiest network is dropped. So the longest wait is
    known, and a crowd from one network keeps out only itself.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        # In order of arrival, with their networks.
        self._waiting: dict[asyncio.Future[bool], str] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, network: str, has_left: HasLeft) -> bool:
        """Return True when admitted, False when there was no room or the visitor has left."""
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[place] = network
        if len(self._waiting) > self._most:
            self._drop_one()
        if self._timer is None:
            self._admit()
        try:
            is_admitted = await place
        finally:
            self._waiting.pop(place, None)
        if is_admitted and await has_left():
            # The next one is admitted at once: a visitor who leaves delays no other.
            self._admit()
            return False
        return is_admitted

    @property
    def waiting(self) -> int:
        """Return the number of attempts in the queue."""
        return len(self._waiting)

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A cancelled waiter uses up no time.
        while self._waiting:
            place = next(iter(self._waiting))
            del self._waiting[place]
            if not place.done():
                place.set_result(True)
                self._timer = asyncio.get_running_loop().call_later(self._seconds, self._admit)
                return

    def _drop_one(self) -> None:
        crowds = Counter(self._waiting.values())
        largest = max(crowds.values())
        last = next(place for place, network in reversed(self._waiting.items()) if crowds[network] == largest)
        del self._waiting[last]
        if not last.done():
            last.set_result(False)


def _digest(password: str) -> bytes:
    """Hash a password to a fixed length, however a keyboard composed its characters."""
    plain = unicodedata.normalize("NFC", password.strip())
    return blake2b(plain.encode("utf-8", "surrogatepass")).digest()


def _network(address: str | None) -> str:
    """Return the network of an address: a subscriber has a whole network of IPv6."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return str(address)
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), _NETWORK_BITS), strict=False))

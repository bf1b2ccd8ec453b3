"""Read request bodies: a bounded number of large ones at once, each with limits of size and time."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import ClientDisconnect, Request

MAX_BODY_BYTES: Final = 1_048_576
BODY_SECONDS: Final = 10
SMALL_BYTES: Final = 16_384
"""Size below which a body needs no place: almost every event is smaller, and arrives with its headers."""

_LENGTH: Final = re.compile("[0-9]{1,18}")
_PLACES: Final = 32
_FAIR_SECONDS: Final = 1.0
"""Time after which a body gives up its place for another one."""


class BodyRefused(Exception):
    """The body is not read. ``status`` is the response's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BodyGate:
    """Read bodies; a bounded number at once of those over ``SMALL_BYTES`` or of unknown length."""

    def __init__(self, places: int = _PLACES, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._monotonic = monotonic
        self._large: dict[asyncio.Timeout, float] = {}

    async def read(self, request: Request, most: int = MAX_BODY_BYTES) -> bytes:
        """Read the body, unless it is announced as too large. Raises ``BodyRefused``."""
        if (_announced(request) or 0) > most:
            raise BodyRefused(413, "the body is too large")
        try:
            async with asyncio.timeout(BODY_SECONDS) as deadline:
                if is_small(request):
                    return await _read(request, most)
                with self._place(deadline):
                    return await _read(request, most)
        except ClientDisconnect as exc:
            raise BodyRefused(400, "the client hung up") from exc
        except TimeoutError as exc:
            raise BodyRefused(408, "the body came too slowly") from exc

    @contextmanager
    def _place(self, deadline: asyncio.Timeout) -> Iterator[None]:
        if len(self._large) >= self._places:
            self._make_room()
        self._large[deadline] = self._monotonic()
        try:
            yield
        finally:
            self._large.pop(deadline, None)

    def _make_room(self) -> None:
        """Drop the body that has been read longest. Raises ``BodyRefused`` if its time is not over."""
        slowest, since = next(iter(self._large.items()))
        if self._monotonic() - since < _FAIR_SECONDS:
            raise BodyRefused(503, "too many large bodies at once")
        del self._large[slowest]
        # It may have expired already without its task noticing yet.
        if not slowest.expired():
            slowest.reschedule(asyncio.get_running_loop().time())


def is_small(request: Request) -> bool:
    """Return True for a body that is announced to have at most ``SMALL_BYTES``."""
    announced = _announced(request)
    return announced is not None and announced <= SMALL_BYTES


def _announced(request: Request) -> int | None:
    """Return ``Content-Length``; None if there is none, or the body is chunked."""
    length = request.headers.get("content-length")
    if length is None or "transfer-encoding" in request.headers:
        return None
    # A length that is not a number counts as over every limit; servers refuse it earlier.
    return int(length) if _LENGTH.fullmatch(length) else sys.maxsize


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise BodyRefused(413, "the body is too large")
    return bytes(body)

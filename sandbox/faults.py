"""Faults for the sandbox Slack, set by a test; one fault spoils one call."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimited:
    """Status 429 with ``Retry-After``; the call has no effect."""

    retry_after: int | str = 1


@dataclass(frozen=True)
class Dropped:
    """Connection that ends without a response; the call has its effect, unless ``committed`` is False."""

    committed: bool = True


@dataclass(frozen=True)
class Hangs:
    """Response that takes ``seconds`` longer."""

    seconds: float


@dataclass(frozen=True)
class Refused:
    """Response ``ok: false`` with Slack's name for the error; the call has no effect."""

    error: str


@dataclass(frozen=True)
class Page:
    """Response of a proxy or firewall in place of the API's, in HTML or not; the call has no effect."""

    status: int = 502
    text: str | None = None
    content_type: str = "text/html"


@dataclass(frozen=True)
class CutOff:
    """Response whose JSON is cut in the middle; the call has its effect."""


Fault = RateLimited | Dropped | Hangs | Refused | Page | CutOff


class FaultQueue:
    """Queues of faults by method, first in, first out. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)

    def add(self, method: str, *faults: Fault) -> None:
        """Spoil the next calls of ``method`` with these faults, one each."""
        with self._lock:
            self._waiting[method].extend(faults)

    def take(self, method: str) -> Fault | None:
        """Remove and return the fault of this call, or None."""
        with self._lock:
            waiting = self._waiting[method]
            return waiting.popleft() if waiting else None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

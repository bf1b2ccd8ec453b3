"""Faults that a sandbox can be told to have; one fault spoils one call."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True)
class RateLimited:
    """Status 429 with ``Retry-After``; nothing is done."""

    retry_after: int | str = 1


@dataclass(frozen=True)
class Dropped:
    """The connection ends without an answer; what was asked is done, unless ``committed`` is False."""

    committed: bool = True


@dataclass(frozen=True)
class Hangs:
    """The answer takes ``seconds`` longer."""

    seconds: float


@dataclass(frozen=True)
class Refused:
    """``ok: false`` with Slack's name for the error; nothing is done."""

    error: str


@dataclass(frozen=True)
class Page:
    """An answer that is none of the API's, as proxies and firewalls give, in HTML or not; nothing is done."""

    status: int = 502
    text: str | None = None
    content_type: str = "text/html"


@dataclass(frozen=True)
class CutOff:
    """Do what was asked, and cut the JSON of the response in its middle."""


Fault = RateLimited | Dropped | Hangs | Refused | Page | CutOff


class FaultQueue:
    """Faults waiting for their call: first in, first out, a queue for each method. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)

    def add(self, method: str, *faults: Fault) -> None:
        """The next calls of ``method`` meet these faults, one each."""
        with self._lock:
            self._waiting[method].extend(faults)

    def take(self, method: str) -> Fault | None:
        """The fault of this call, if there is one."""
        with self._lock:
            waiting = self._waiting[method]
            return waiting.popleft() if waiting else None

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._waiting.clear()

"""Virtual time for tests and chaos."""

from __future__ import annotations


class VirtualClock:
    """A clock that only ``advance`` moves on; a call of it returns the time in seconds."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self._now += seconds

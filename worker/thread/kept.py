"""Answers that a process keeps for some minutes, so that the same question is not asked each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

KEPT_SECONDS: Final = 600.0
MOST_KEPT: Final = 5_000

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Answered(Generic[A]):
    """An answer that is kept; it may be None."""

    answer: A


@dataclass(slots=True)
class Kept(Generic[A]):
    """Answers by the id that was asked about, at most ``MOST_KEPT`` of them.

    Args:
        monotonic: seconds, as this process measures them.
        seconds: for which an answer is kept.
    """

    monotonic: Callable[[], float] = time.monotonic
    seconds: float = KEPT_SECONDS
    _known: dict[str, tuple[float, A]] = field(default_factory=dict)

    def get(self, about: str) -> Answered[A] | None:
        """Return the answer, None if there is none or it is too old."""
        kept = self._known.get(about)
        return Answered(kept[1]) if kept and kept[0] > self.monotonic() else None

    def last(self, about: str) -> A | None:
        """Return the last answer, however old it is; None without one."""
        kept = self._known.get(about)
        return kept[1] if kept else None

    def asked_with(self, answer: A) -> list[str]:
        """Return the ids whose last answer was this one."""
        # A copy, because another thread may put an answer meanwhile.
        return [about for about, (_, found) in list(self._known.items()) if found == answer]

    def put(self, about: str, answer: A) -> None:
        """Keep an answer. When there are too many, all others are dropped."""
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[about] = (self.monotonic() + self.seconds, answer)

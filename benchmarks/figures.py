"""Arithmetic of figures: rates, percentiles, and ratios within a round. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

WARM: Final = 0.1
"""Share of a backlog that is not timed, as the worker starts meanwhile."""


@dataclass(frozen=True)
class Spread:
    """The median, lowest and highest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread:
        """Make the spread of at least one number."""
        ordered = sorted(numbers)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])


def percentile(numbers: Iterable[float], share: float) -> float:
    """Return the smallest number that at least ``share`` of all, 0 to 1, do not exceed."""
    ordered = sorted(numbers)
    # A tenth of a billionth, because 0.99 * 100 may be a little more than 99.
    rank = -int(-(share * len(ordered) - 1e-10) // 1)
    return ordered[max(rank, 1) - 1]


def rate(samples: Sequence[tuple[float, int]], total: int) -> float:
    """Return commands a second, from looks at a backlog: (time, number done), the last one with all done.

    The time until the look that first saw more than a tenth done is left out.
    """
    began, warm = next((when, done) for when, done in samples if done >= total * WARM)
    ended = next(when for when, done in samples if done >= total)
    return (total - warm) / (ended - began) if ended > began else float("nan")


def ratios(numbers: dict[int, float], baseline: dict[int, float]) -> Spread | None:
    """Return the ratio to the baseline, round by round; None when they have no round in common."""
    common = [numbers[key] / baseline[key] for key in numbers if baseline.get(key)]
    return Spread.of(common) if common else None


def fastest(rates: Iterable[dict[int, float]]) -> dict[int, float]:
    """Return the highest rate of each round."""
    highest: dict[int, float] = {}
    for numbers in rates:
        for place, number in numbers.items():
            highest[place] = max(number, highest.get(place, 0))
    return highest


def rotated(items: Sequence[T], by: int) -> list[T]:
    """Return the items in a circle, from number ``by`` on, so that each is the first one some time."""
    place = by % len(items) if items else 0
    return [*items[place:], *items[:place]]

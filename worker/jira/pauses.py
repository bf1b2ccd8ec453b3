"""Read from a 429 how long to wait. Pure.

It may say so in seconds, as a moment since 1970, as an HTTP date or an ISO date, and be wrong in all of them.
What makes no sense counts as not said; what is longer than `LONGEST_ASKED_SECONDS` is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from worker.jira.answers import LONGEST_ASKED_SECONDS

_HEADERS: Final = ("retry-after", "x-ratelimit-reset")
_LONGEST_TEXT: Final = 100
_UNITS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e9, 1.0))
"""Units of moments: the least number that is a moment in the unit, and units per second."""


def pause(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return seconds from ``now``, by the first header (in lower case) that is readable, or None."""
    for name in _HEADERS:
        seconds = _seconds(headers.get(name, "").strip()[:_LONGEST_TEXT], now)
        if seconds is not None:
            return min(seconds, LONGEST_ASKED_SECONDS)
    return None


def _seconds(text: str, now: datetime) -> float | None:
    try:
        number = float(text)
    except ValueError:
        moment = _http_date(text) or _iso(text)
        return None if moment is None else max(0.0, (moment - now).total_seconds())
    if not math.isfinite(number) or number < 0:
        return None
    for least, parts in _UNITS:
        if number >= least:
            return max(0.0, number / parts - now.timestamp())
    return number


def _http_date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

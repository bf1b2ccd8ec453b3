"""Format times and sentences for pages. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
# Not by the locale of the process.
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TS: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?", re.ASCII)


def ago(moment: datetime, now: datetime) -> str:
    """Format a moment as ``3 min ago``, ``in 40 s`` or ``now``."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    size, unit = next(step for step in _UNITS if abs(seconds) >= step[0])
    count = int(abs(seconds) // size)
    return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"


def exact(moment: datetime) -> str:
    """Format a moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def readable(moment: datetime) -> str:
    """Format a moment in UTC as people write it: ``29 Nov 2026, 14:05:09 UTC``."""
    at = moment.astimezone(UTC)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M:%S} UTC"


def moment_of(ts: object) -> datetime | None:
    """Return the moment of one of Slack's timestamps; None for what is none."""
    if not isinstance(ts, str) or not _TS.fullmatch(ts):
        return None
    try:
        return datetime.fromtimestamp(int(ts.partition(".")[0]), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def of_ts(ts: object) -> str:
    """Format one of Slack's timestamps to the minute; what is no moment stays as it is."""
    at = moment_of(ts)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} UTC" if at else str(ts)


def took(begun: datetime, ended: datetime | None) -> str:
    """Format a duration; empty while it is in progress."""
    return f"{(ended - begun).total_seconds():.1f} s" if ended else ""


def sentence(text: str) -> str:
    """Begin with a capital: reasons are written to stand behind other words."""
    return text[:1].upper() + text[1:]

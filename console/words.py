"""Format times and sentences for pages. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


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


def took(begun: datetime, ended: datetime | None) -> str:
    """Format a duration; empty while it is in progress."""
    return f"{(ended - begun).total_seconds():.1f} s" if ended else ""


def sentence(text: str) -> str:
    """Begin with a capital: reasons are written to stand behind other words."""
    return text[:1].upper() + text[1:]

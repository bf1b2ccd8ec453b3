"""Times and numbers as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime, now: datetime) -> str:
    """``3 min ago``, ``in 40 s``, ``now``."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    size, unit = next(step for step in _UNITS if abs(seconds) >= step[0])
    count = int(abs(seconds) // size)
    return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"


def exact(moment: datetime) -> str:
    """In UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def took(begun: datetime, ended: datetime | None) -> str:
    """How long something took; empty while it is under way."""
    return f"{(ended - begun).total_seconds():.1f} s" if ended else ""


def sentence(text: str) -> str:
    """With a capital at its beginning: reasons are written to stand behind others words."""
    return text[:1].upper() + text[1:]

"""Compare two clocks. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from threadsync.broker.clocks import SKEW_SECONDS
from worker.doctor.finding import Finding, error, ok, warning

_HARMFUL_SECONDS: Final = 60.0
"""Slack's requests are refused when they seem to be 300 s old; commands' times are wrong long before."""


def judge_clock(check: str, whose: str, theirs: datetime, asked: datetime, answered: datetime) -> Finding:
    """Judge a clock. ``theirs`` was read between ``asked`` and ``answered`` of this machine's clock."""
    skew = max((asked - theirs).total_seconds(), (theirs - answered).total_seconds(), 0.0)
    fix = "synchronize both by NTP (chrony, systemd-timesyncd), and check that it runs"
    if skew > _HARMFUL_SECONDS:
        return error(check, f"this machine's clock and {whose}'s are {skew:.0f} s apart", fix)
    if skew > SKEW_SECONDS:
        return warning(check, f"this machine's clock and {whose}'s are {skew:.0f} s apart", fix)
    return ok(check, f"agrees with {whose}'s")


def of_header(date: str | None) -> datetime | None:
    """Parse an HTTP ``Date``, to the second."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC) if date else None
    except (TypeError, ValueError):
        return None

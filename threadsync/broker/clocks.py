"""Offset of this process's clock to the broker's and Postgres'. It is measured and reported, nothing more.

What must hold between machines is timed by one clock: docs/adr/0013-clocks.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

SENT_AT: Final = "sent_at"
"""Header of a message: Unix seconds by the broker's clock, as far as its sender knows it."""

SKEW_SECONDS: Final = 2.0
"""A larger offset is reported by health, the doctor and a metric."""


@dataclass(frozen=True)
class Offset:
    """Seconds by which this process's clock is ahead of another one; negative if it is behind."""

    seconds: float
    doubt: float
    """Half of the question's duration: the other clock was read at some moment in between."""

    @property
    def certain(self) -> float:
        """The offset less the doubt; 0.0 where the clocks may agree."""
        if abs(self.seconds) <= self.doubt:
            return 0.0
        return self.seconds - self.doubt if self.seconds > 0 else self.seconds + self.doubt


def offset(theirs: float, asked: float, answered: float) -> Offset:
    """Return the offset to a clock that showed ``theirs`` between two moments of ours."""
    return Offset((asked + answered) / 2 - theirs, max(0.0, answered - asked) / 2)


class _Broker:
    """The last measurement, and this process's clock less its monotonic one at that time."""

    measured: Offset | None = None
    base: float = 0.0


_broker = _Broker()


def broker_said(theirs: float, asked: float, answered: float) -> Offset:
    """Store a measurement of the broker's clock."""
    _broker.measured, _broker.base = offset(theirs, asked, answered), _base()
    return _broker.measured


def ahead_of_broker() -> Offset | None:
    """Return the last measurement, corrected by changes of our clock since; None without one."""
    known = _broker.measured
    return None if known is None else Offset(known.seconds + _base() - _broker.base, known.doubt)


def broker_time() -> float:
    """Return Unix seconds by the broker's clock if this process has measured it, else by its own."""
    known = ahead_of_broker()
    return time.time() - (known.certain if known else 0.0)


def _base() -> float:
    return time.time() - time.monotonic()

"""This process's clock beside the broker's and Postgres'. Nothing is decided by it: it is measured and told.

What must hold between machines is timed by one clock: the broker's for what lies in the broker, Postgres'
for what stands in a table, a process's own monotonic one for what it alone waits for. See
docs/adr/0013-clocks.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

SENT_AT: Final = "sent_at"
"""Header of a message: Unix seconds by the broker's clock, as far as its sender knows it."""

SKEW_SECONDS: Final = 2.0
"""More than this is said by health, the doctor and a metric."""


@dataclass(frozen=True)
class Offset:
    """How far this process's clock is ahead of another one, in seconds; behind it is negative."""

    seconds: float
    doubt: float
    """Half of the time that the question took: the other clock was read at some moment in between."""

    @property
    def certain(self) -> float:
        """What is left of it when the doubt is taken off; 0.0 where the clocks may agree."""
        if abs(self.seconds) <= self.doubt:
            return 0.0
        return self.seconds - self.doubt if self.seconds > 0 else self.seconds + self.doubt


def offset(theirs: float, asked: float, answered: float) -> Offset:
    """The offset to a clock that was read at ``theirs``, at some moment between the other two of ours."""
    return Offset((asked + answered) / 2 - theirs, max(0.0, answered - asked) / 2)


class _Broker:
    """The last measure, and what this process's clock was then ahead of its monotonic one."""

    measured: Offset | None = None
    base: float = 0.0


_broker = _Broker()


def broker_said(theirs: float, asked: float, answered: float) -> Offset:
    """Keep a measure of the broker's clock."""
    _broker.measured, _broker.base = offset(theirs, asked, answered), _base()
    return _broker.measured


def ahead_of_broker() -> Offset | None:
    """The last measure, and by how much our clock was set since; None where there is none."""
    known = _broker.measured
    return None if known is None else Offset(known.seconds + _base() - _broker.base, known.doubt)


def broker_time() -> float:
    """Unix seconds by the broker's clock, as far as this process knows it; else by its own."""
    known = ahead_of_broker()
    return time.time() - (known.certain if known else 0.0)


def _base() -> float:
    return time.time() - time.monotonic()

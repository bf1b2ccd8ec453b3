"""When a status message is tried again after a call that failed: ``decide(answer, failures)``. Pure.

| answer | next |
|---|---|
| Slack asks to wait | as long as it says; no failure counted |
| not reached, or unclear | 5 s, 10 s, … 10 min |
| the message is not there, although it was just seen | the same |
| everything else that Slack refuses | not before the sync's next change |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from worker.slack_status.answers import Failure, NotSent, Refused, Throttled, Unknown

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0

MESSAGE_GONE: Final = "message_not_found"


@dataclass(frozen=True, slots=True)
class Later:
    """Again after so many seconds; ``failures`` in a row so far."""

    seconds: float
    failures: int


@dataclass(frozen=True, slots=True)
class Stop:
    """It would fail again: the channel is gone, or the token. ``error`` is Slack's."""

    error: str


def decide(answer: Failure, failures: int) -> Later | Stop:
    """What follows; ``failures`` is how many there were in a row before this one."""
    match answer:
        case Throttled():
            return Later(answer.retry_after, failures)
        case Refused() if answer.error != MESSAGE_GONE:
            return Stop(answer.error)
        case NotSent() | Unknown() | Refused():
            return Later(pause_after(failures), failures + 1)
        case _:
            assert_never(answer)


def pause_after(failures: int) -> float:
    """Seconds; doubled with each failure."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 20), LONGEST_PAUSE_SECONDS)

"""Decide the reaction to a failed call for a status message. Pure.

| response | next |
|---|---|
| Slack asks to wait | as long as it says; no failure counted |
| not reached, or unclear | 5 s, 10 s, … 10 min, without end |
| the message is not there | look for it, and post another; just seen there: 5 s, 10 s, … 10 min |
| the message cannot be edited any more | post another, once there is something to say that stays true |
| the installation is refused: its token, a scope, the workspace | all messages wait until that is over |
| the message's form is refused | not before the sync's next change: it would be refused again |
| anything else is refused: the channel is archived, we are not in it | 1 min, 2 min, … 1 h, for a day |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from worker.http_once import NotSent, Unknown
from worker.status_message.answers import Failure, Refused, Throttled
from worker.text.slack_errors import MESSAGE_GONE, NOT_EDITABLE, OF_FORM, OF_INSTALLATION

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0
FIRST_PAUSE_OF_REFUSAL_SECONDS: Final = 60.0
LONGEST_PAUSE_OF_REFUSAL_SECONDS: Final = 3600.0
MOST_REFUSALS: Final = 29
"""Refusals in a row before the message is given up: with those pauses that is a day."""


@dataclass(frozen=True, slots=True)
class Later:
    """Decision to try again after so many seconds; with the failures and refusals in a row so far.

    ``refusal`` is Slack's name for why, where it gave one: then a change of the sync is tried at once.
    """

    seconds: float
    failures: int
    refusals: int = 0
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """Decision to park all messages until Slack accepts us again. ``error`` is Slack's."""

    error: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Decision to leave the message as it is and post another one. ``error`` is Slack's."""

    error: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Decision to give up until the sync changes, as it would fail again. ``error`` is Slack's."""

    error: str


Following = Later | Park | Replace | Stop


def decide(answer: Failure, failures: int, refusals: int) -> Following:
    """Decide the reaction to a failure.

    Args:
        failures: calls in a row before this one that had no clear answer.
        refusals: calls before this one that Slack refused, with no success since.
    """
    match answer:
        case Throttled():
            return Later(answer.retry_after, failures, refusals)
        case NotSent() | Unknown():
            return Later(pause_after(failures), failures + 1, refusals)
        case Refused():
            return _after_refusal(answer.error, failures, refusals)
        case _:
            assert_never(answer)


def _after_refusal(error: str, failures: int, refusals: int) -> Following:
    if error in OF_INSTALLATION:
        return Park(error)
    if error in NOT_EDITABLE:
        return Replace(error)
    if error == MESSAGE_GONE:
        return Later(pause_after(failures), failures + 1, refusals)
    if error in OF_FORM or refusals >= MOST_REFUSALS:
        return Stop(error)
    return Later(_pause_after_refusal(refusals), 0, refusals + 1, error)


def pause_after(failures: int) -> float:
    """Return seconds, doubled with each failure."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 20), LONGEST_PAUSE_SECONDS)


def _pause_after_refusal(refusals: int) -> float:
    return min(FIRST_PAUSE_OF_REFUSAL_SECONDS * 2.0 ** min(refusals, 20), LONGEST_PAUSE_OF_REFUSAL_SECONDS)

"""Decide what follows a call of a step: ``decide_step(outcome, situation)``. Pure.

| outcome | next |
|---|---|
| the look found it, or Jira accepted the write | over |
| the look did not find it, and an earlier write may still appear | look again, at last when it may not |
| the look did not find it, for certain | write |
| the write has no clear response | look for it before anything is written again |
| Jira refuses for good, or has no such ticket | given up |
| Jira or Slack asks to wait, is away, or refuses for the moment | later |
| all of it for 24 hours | given up, if it was tried at all |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, Failure, Rejected, Throttled

FIRST_PAUSE_SECONDS: Final = 15.0
LONGEST_PAUSE_SECONDS: Final = 900.0
PATIENCE: Final = timedelta(hours=24)

TICKET_GONE: Final = "ticket_gone"
REJECTED: Final = "rejected"
KEPT_FAILING: Final = "kept_failing"


@dataclass(frozen=True, slots=True)
class Present:
    """Outcome of a look: what was to be written is there."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Outcome of a look: it was not there when the look began."""


@dataclass(frozen=True, slots=True)
class TicketGone:
    """Outcome of a look or a write: Jira has no such ticket, or none that we may see."""


@dataclass(frozen=True, slots=True)
class Written:
    """Outcome of a write: Jira accepted it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Failure of a call to Jira. ``wrote``: of the write itself, not of a look; ``request``: its endpoint."""

    answer: Failure
    wrote: bool
    request: str = ""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Reason of ours or of Slack's for which nothing is written now; nothing was sent to Jira.

    Args:
        seconds: for which it waits; None for a pause that grows with each failure.
        is_failure: counts as one.
    """

    seconds: float | None = None
    is_failure: bool = True


@dataclass(frozen=True, slots=True)
class Impossible:
    """Reason for which it will never be written; nothing was sent to Jira."""

    reason: str


Outcome = Present | Missing | TicketGone | Written | Failed | NotYet | Impossible


@dataclass(frozen=True, slots=True)
class Situation:
    """A step at the moment of a call.

    Args:
        now: when the call began.
        since: when the step was first due.
        settle: seconds after a write's deadline within which it may still come to light.
        jitter: 0 to 1, drawn by the caller.
        failures: in a row.
        deadline: of a write whose end is not known; None when there is none.
    """

    now: datetime
    since: datetime
    settle: float
    jitter: float
    failures: int = 0
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Decision to write it now."""


@dataclass(frozen=True, slots=True)
class Later:
    """Decision to come again after so many seconds. ``in_doubt``: the write may still appear.

    ``request`` is the endpoint that gave ``answer``.
    """

    seconds: float
    failures: int
    in_doubt: bool
    answer: Failure | None = None
    request: str = ""


@dataclass(frozen=True, slots=True)
class Over:
    """End of a step; ``given_up`` is a code for why it was not written, None if it was."""

    given_up: str | None = None
    answer: Failure | None = None


Next = Write | Later | Over


def decide_step(outcome: Outcome, at: Situation) -> Next:
    """Decide what follows a call with this outcome."""
    is_too_old = at.now - at.since >= PATIENCE
    match outcome:
        case Present() | Written():
            return Over()
        case TicketGone():
            return Over(TICKET_GONE)
        case Impossible(reason):
            return Over(reason)
        case Missing():
            if (unsettled := _unsettled(at)) > 0:
                return Later(_look_delay(unsettled), at.failures, in_doubt=True)
            # One that no worker has tried for a day is tried all the same.
            return Over(KEPT_FAILING) if is_too_old and at.failures else Write()
        case NotYet(seconds, is_failure):
            if is_too_old:
                return Over(KEPT_FAILING)
            pause = _pause(at.failures) if seconds is None else max(seconds, 1.0)
            return Later(_spread(pause, at), at.failures + is_failure, in_doubt=False)
        case Failed(answer):
            following = _failed(outcome, at)
            if is_too_old and isinstance(following, Later) and _unsettled(at) <= 0 and not following.in_doubt:
                return Over(KEPT_FAILING, answer)
            return following
        case _:
            assert_never(outcome)


def _failed(failed: Failed, at: Situation) -> Later | Over:
    answer = failed.answer
    was_in_doubt = at.deadline is not None and not failed.wrote
    match answer:
        case Rejected():
            return Over(REJECTED, answer)
        case Throttled():
            asked = max(answer.retry_after or 0.0, FIRST_PAUSE_SECONDS)
            return Later(_spread(asked, at), at.failures, was_in_doubt, answer, failed.request)
        case NotSent() | AuthProblem():
            return Later(_spread(_pause(at.failures), at), at.failures + 1, was_in_doubt, answer)
        case Unknown():
            in_doubt = failed.wrote or was_in_doubt
            return Later(_spread(_pause(at.failures), at), at.failures + 1, in_doubt, answer)
        case _:
            assert_never(answer)


def _unsettled(at: Situation) -> float:
    """Return the seconds for which a write in doubt may still appear; 0 without one."""
    if at.deadline is None:
        return 0.0
    return max((at.deadline + timedelta(seconds=at.settle) - at.now).total_seconds(), 0.0)


def _look_delay(unsettled: float) -> float:
    # Half of the time, so that it is looked for several times, the last time when that is over.
    return max(1.0, min(unsettled, max(FIRST_PAUSE_SECONDS, unsettled / 2)))


def _pause(failures: int) -> float:
    return float(min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS))


def _spread(seconds: float, at: Situation) -> float:
    """Lengthen a pause by up to a fifth, so that not all come back in one moment."""
    return seconds * (1 + at.jitter / 5)

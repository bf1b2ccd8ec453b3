"""What becomes of a sync when something ended: ``decide(outcome, sync, now) -> next state``. Pure.

| what ended | next state |
|---|---|
| a ticket was made, or one with our marker was found | `done` |
| more than one has our marker | `review` |
| surely not created: not sent, an edge answered, no search before it | `retry_wait`; `review` after 24 h |
| 429 | `retry_wait`, no failure counted; a quota pauses the site, a burst limit that endpoint |
| the draft was refused | `failed` |
| the set-up: project, issue type, screen, account, address | `blocked`; all of a site that refuses us |
| maybe created | `unknown` |
| a look found nothing, or could not be taken | `unknown`, look again; `review` after 24 h without an answer |
| it found nothing twice, the last time late enough | `pending`, created again; after four of these `review` |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from worker.http_once import NotSent, Unknown
from worker.jira.answers import (
    About,
    AuthProblem,
    CallFailed,
    Created,
    Failure,
    JiraIssue,
    Rejected,
    Throttled,
)

Scope = Literal["site", "endpoint"]
State = Literal["pending", "inflight", "retry_wait", "unknown", "blocked", "failed", "review", "done"]

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 900.0
PATIENCE: Final = timedelta(hours=24)
LOOK_AFTER_SECONDS: Final = (5, 15, 30, 60, 120, 300, 600)
"""When to look for a ticket that was maybe created, counted from when that became known."""

MOST_RECREATES: Final = 4
"""Each is as safe as the first create: it is sent when the one before is certain to have made nothing."""

_LONG_AGO: Final = 600
_REASONS: Final[Mapping[About, str]] = {
    "draft": "draft_refused",
    "set_up": "set_up",
    "place": "not_found",
    "access": "no_access",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One issue has our marker."""

    issue: JiraIssue


@dataclass(frozen=True, slots=True)
class Several:
    """More than one has it."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Both the label search and the key probe answered, and said no."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A call that only reads did not succeed, so it is not known what there is; nothing was sent."""

    answer: CallFailed


Outcome = Created | Found | Several | Absent | Unread | Rejected | Throttled | AuthProblem | NotSent | Unknown


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a sync at the moment.

    ``deadline`` is that of the create whose end is not known; None when there is none. After a
    re-create ``failing_since`` is the deadline of the first create of the row, until something else fails.
    """

    failures: int = 0
    failing_since: datetime | None = None
    looks: int = 0
    absences: int = 0
    recreates: int = 0
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """For so many seconds nothing may be sent to the site, or to the endpoint that asked for it."""

    scope: Scope
    seconds: float


@dataclass(frozen=True, slots=True)
class Next:
    """The state to write, and what comes with it.

    Args:
        delay: seconds until there is something to do again; None when nothing happens by itself.
        reason: a code that ``threadsync.reasons`` has words for; None where there is nothing to explain.
        pause: others that must wait, too.
        may_be_the_site: ask the site who we are; if it does not say, all of its syncs are parked.
    """

    state: State
    delay: float | None
    reason: str | None = None
    failures: int = 0
    failing_since: datetime | None = None
    looks: int = 0
    absences: int = 0
    recreates: int = 0
    pause: Pause | None = None
    may_be_the_site: bool = False


def decide(outcome: Outcome, sync: Standing, now: datetime, settle: float, jitter: float) -> Next:
    """What to write.

    Args:
        settle: seconds after a create's deadline within which a ticket of it may still come to light.
        jitter: 0 to 1, drawn by the caller.
    """
    match outcome:
        case Created() | Found():
            return Next("done", 0)
        case Several():
            return Next("review", None, "several_tickets")
        case Unknown():
            since = sync.failing_since if sync.recreates else None
            return Next(
                "unknown", LOOK_AFTER_SECONDS[0], "no_answer", failing_since=since, recreates=sync.recreates
            )
        case Absent():
            return _absent(sync, now, settle)
        case Unread():
            return _unread(outcome, sync, now, settle, jitter)
        case Rejected() | Throttled() | AuthProblem() | NotSent():
            return _surely_not_created(outcome, sync, now, jitter)
        case _:
            assert_never(outcome)


def _surely_not_created(
    answer: Rejected | Throttled | AuthProblem | NotSent, sync: Standing, now: datetime, jitter: float
) -> Next:
    match answer:
        case Rejected(about="draft"):
            return Next("failed", None, "draft_refused", recreates=sync.recreates)
        case Rejected():
            reason = _REASONS[answer.about]
            return Next("blocked", None, reason, recreates=sync.recreates, may_be_the_site=True)
        case AuthProblem():
            return Next("blocked", None, "no_access", recreates=sync.recreates, may_be_the_site=True)
        case Throttled():
            return _wait(answer, sync, jitter)
        case NotSent():
            return _retry(sync, now, jitter, "not_reached" if answer.status is None else "edge_refused")
        case _:
            assert_never(answer)


def _wait(answer: Throttled, sync: Standing, jitter: float) -> Next:
    """As told, and up to a fifth more, so that not all come back at once. No failure is counted."""
    delay = max(answer.retry_after or 0, FIRST_PAUSE_SECONDS) * (1 + jitter / 5)
    return Next(
        "retry_wait",
        delay,
        "rate_limit",
        sync.failures,
        sync.failing_since,
        recreates=sync.recreates,
        pause=Pause(scope, delay) if (scope := scope_of(answer)) else None,
    )


def scope_of(answer: Throttled) -> Scope | None:
    """Return what else must wait: the site, the endpoint, or nothing where it is about one ticket or unsaid.

    The reasons: https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
    """
    reason = (answer.reason or "").casefold()
    if reason.startswith("jira-quota"):
        return "site"
    return "endpoint" if reason.startswith("jira-burst") else None


def _retry(sync: Standing, now: datetime, jitter: float, reason: str) -> Next:
    # A re-create's is that of the first create; what fails now has failed since now.
    is_new = sync.recreates > 0 and sync.failures == 0
    since = now if is_new or sync.failing_since is None else sync.failing_since
    if now - since >= PATIENCE:
        return Next("review", None, "kept_failing", sync.failures + 1, since, recreates=sync.recreates)
    # Full jitter. The exponent is bounded because the number of failures is not.
    longest = min(FIRST_PAUSE_SECONDS * 2 ** min(sync.failures, 20), LONGEST_PAUSE_SECONDS)
    delay = max(longest * jitter, 0.2)
    return Next("retry_wait", delay, reason, sync.failures + 1, since, recreates=sync.recreates)


def _unread(outcome: Unread, sync: Standing, now: datetime, settle: float, jitter: float) -> Next:
    answer = outcome.answer.answer
    if sync.deadline is not None:
        return _unseen(answer, sync, sync.deadline, now, settle)
    if isinstance(answer, Unknown):
        # Of a read: nothing was created by it.
        return _retry(sync, now, jitter, "not_reached")
    if isinstance(answer, AuthProblem) and answer.is_page:
        # Perhaps of something in front of Jira, for a moment; and if it is a login, `/myself` meets it, too.
        return replace(_retry(sync, now, jitter, "web_page"), may_be_the_site=True)
    if isinstance(answer, Rejected) and answer.about == "draft":
        # It was the search that was refused, not the draft.
        return Next("blocked", None, "set_up", recreates=sync.recreates, may_be_the_site=True)
    return _surely_not_created(answer, sync, now, jitter)


def _unseen(answer: Failure, sync: Standing, deadline: datetime, now: datetime, settle: float) -> Next:
    """A look that could not be taken says nothing about the ticket. A set-up that prevents it is named."""
    if now - deadline >= PATIENCE:
        return Next("review", None, "not_confirmed", looks=sync.looks, recreates=sync.recreates)
    delay = _look_delay(sync, now, settle)
    if isinstance(answer, Throttled):
        asked = max(delay, answer.retry_after or 0)
        scope = scope_of(answer)
        pause = Pause(scope, max(answer.retry_after or 0, FIRST_PAUSE_SECONDS)) if scope else None
        return replace(_look_again(sync, asked), pause=pause)
    if isinstance(answer, AuthProblem | Rejected):
        return replace(_look_again(sync, delay), reason="look_refused", may_be_the_site=True)
    return _look_again(sync, delay)


def _absent(sync: Standing, now: datetime, settle: float) -> Next:
    assert sync.deadline is not None  # noqa: S101 - one looks only after a create
    absences = sync.absences + 1
    if absences < 2 or now < sync.deadline + timedelta(seconds=certain_after(sync.recreates, settle)):
        return _look_again(replace(sync, absences=absences), _look_delay(sync, now, settle))
    if not _may_recreate(sync, now):
        return Next("review", None, "absent_again", recreates=sync.recreates)
    since = (sync.failing_since if sync.recreates else None) or sync.deadline
    return Next("pending", 0, "create_again", failing_since=since, recreates=sync.recreates + 1)


def certain_after(recreates: int, settle: float) -> float:
    """Seconds after a create's deadline from which absence counts: each time twice as long as before.

    A Jira that swallows one create after the other may as well be one that shows its tickets late.
    """
    return settle * 2.0**recreates


def _may_recreate(sync: Standing, now: datetime) -> bool:
    """Always once; then four times at most, and within 24 hours."""
    if sync.recreates == 0:
        return True
    is_recent = sync.failing_since is None or now - sync.failing_since < PATIENCE
    return sync.recreates < MOST_RECREATES and is_recent


def _look_again(sync: Standing, delay: float) -> Next:
    return Next(
        "unknown",
        delay,
        "no_answer",
        failing_since=sync.failing_since if sync.recreates else None,
        looks=sync.looks + 1,
        absences=sync.absences,
        recreates=sync.recreates,
    )


def _look_delay(sync: Standing, now: datetime, settle: float) -> float:
    """Until the next look: as the schedule has it, but not past the moment from which absence counts."""
    looks = min(sync.looks, len(LOOK_AFTER_SECONDS) - 1)
    following = LOOK_AFTER_SECONDS[looks + 1] if looks + 1 < len(LOOK_AFTER_SECONDS) else None
    delay = float(following - LOOK_AFTER_SECONDS[looks]) if following else float(_LONG_AGO)
    assert sync.deadline is not None  # noqa: S101 - one looks only after a create
    settled_in = (sync.deadline - now).total_seconds() + certain_after(sync.recreates, settle)
    return min(delay, settled_in) if settled_in > 0 else delay

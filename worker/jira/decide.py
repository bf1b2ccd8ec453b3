"""Decide the next state of a sync after a step: ``decide(outcome, situation)``. Pure.

The states, and what leads from one to another: docs/understand/tickets.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from threadsync.syncs import SyncStatus
from worker.db.syncs.progress import FRESH, Progress
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

FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 900.0
PATIENCE: Final = timedelta(hours=24)
LOOK_AFTER_SECONDS: Final = (5, 15, 30, 60, 120, 300, 600)
"""Schedule of looks for a ticket that was perhaps created, counted from when that became known."""

MOST_RECREATES: Final = 4
"""Most re-creates. Each is as safe as the first create: the one before has surely made nothing."""

SCOPE_MISSING: Final = "scope_missing"
"""Trouble of a site whose token lacks a scope. `/myself` may be accepted meanwhile, so a sync probes it."""

SCOPE_PROBE_SECONDS: Final = 900.0
"""Pause between two such probes."""

REPORTER_REFUSED: Final = "reporter_refused"
"""Reason of a create that is repeated without the reporter that Jira refused."""

_LONG_AGO: Final = 600
_REASONS: Final[Mapping[About, str]] = {
    "draft": "draft_refused",
    "set_up": "set_up",
    "place": "not_found",
    "access": "no_access",
    "reporter": "set_up",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Outcome of a look: one issue has our marker."""

    issue: JiraIssue


@dataclass(frozen=True, slots=True)
class Several:
    """Outcome of a look: more than one issue has our marker."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Outcome of a look: label search and key probe both responded, and found nothing."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Failure of a call that only reads: it is unknown whether there is a ticket; nothing was sent."""

    answer: CallFailed


Outcome = Created | Found | Several | Absent | Unread | Rejected | Throttled | AuthProblem | NotSent | Unknown


@dataclass(frozen=True, slots=True)
class Situation:
    """A sync at the end of a step.

    Args:
        settle: seconds after a create's deadline within which its ticket may still come to light.
        jitter: 0 to 1, drawn by the caller.
        deadline: of the create whose end is not known; None when there is none.
        was_renewed: the step before ended as this one may, with ``token_renewed``.
        can_see: False if a ticket of the create in doubt may be hidden from the account that looks.
        named_reporter: the create that was sent named a reporter.
    """

    progress: Progress
    now: datetime
    settle: float
    jitter: float
    deadline: datetime | None = None
    was_renewed: bool = False
    can_see: bool = True
    named_reporter: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds for which nothing may be sent to the site, or to the endpoint that asked for it."""

    scope: Scope
    seconds: float


@dataclass(frozen=True, slots=True)
class Next:
    """The next state of a sync, and the values to write with it.

    Args:
        delay: seconds until there is something to do again; None when nothing happens by itself.
        reason: a code that ``threadsync.reasons`` has words for; None where there is nothing to explain.
        pause: others that must wait, too.
        may_be_the_site: ask the site who we are; if it does not say, all of its syncs are parked.
        is_parked: the sync waits, blocked, until its site accepts us.
        site_trouble: trouble of the whole site that the answer shows by itself: it is parked unasked.
    """

    state: SyncStatus
    delay: float | None
    reason: str | None = None
    progress: Progress = FRESH
    pause: Pause | None = None
    may_be_the_site: bool = False
    is_parked: bool = False
    site_trouble: str | None = None


def decide(outcome: Outcome, at: Situation) -> Next:
    """Decide the next state of a sync after a step with this outcome."""
    match outcome:
        case Created() | Found():
            return Next("done", 0)
        case Several():
            return Next("review", None, "several_tickets")
        case Unknown():
            return Next("unknown", LOOK_AFTER_SECONDS[0], "no_answer", _in_doubt(at.progress))
        case Absent():
            return _absent(at)
        case Unread():
            return _unread(outcome.answer.answer, at)
        case Rejected() | Throttled() | AuthProblem() | NotSent():
            return _surely_not_created(outcome, at)
        case _:
            assert_never(outcome)


def _surely_not_created(answer: Rejected | Throttled | AuthProblem | NotSent, at: Situation) -> Next:
    match answer:
        case Rejected(about="draft"):
            return Next("failed", None, "draft_refused", at.progress)
        case Rejected(about="reporter") if at.named_reporter:
            return Next("retry_wait", 0.0, REPORTER_REFUSED, at.progress)
        case Rejected():
            return Next("blocked", None, _REASONS[answer.about], at.progress, may_be_the_site=True)
        case AuthProblem(is_of_scope=True):
            return Next(
                "blocked", None, SCOPE_MISSING, at.progress, is_parked=True, site_trouble=SCOPE_MISSING
            )
        case AuthProblem() if _may_be_mended(answer, at):
            return Next("retry_wait", 0.0, "token_renewed", at.progress)
        case AuthProblem():
            return Next("blocked", None, "no_access", at.progress, may_be_the_site=True)
        case Throttled():
            return _wait(answer, at)
        case NotSent():
            return _retry(at, "not_reached" if answer.status is None else "edge_refused")
        case _:
            assert_never(answer)


def _may_be_mended(answer: Failure, at: Situation) -> bool:
    """Return True if another token may mend it: once, for the next one may be refused as well."""
    return isinstance(answer, AuthProblem) and answer.is_renewed and not at.was_renewed


def _wait(answer: Throttled, at: Situation) -> Next:
    """Wait as long as Jira asked plus up to 20 % jitter. A 429 is not counted as a failure."""
    delay = max(answer.retry_after or 0, FIRST_PAUSE_SECONDS) * (1 + at.jitter / 5)
    return Next("retry_wait", delay, "rate_limit", at.progress, pause=_pause(answer, delay))


def _pause(answer: Throttled, seconds: float) -> Pause | None:
    scope = scope_of(answer)
    return Pause(scope, seconds) if scope else None


def scope_of(answer: Throttled) -> Scope | None:
    """Return the scope of a 429: the site, the endpoint, or None if it is about one ticket or not named.

    The reasons: https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
    """
    reason = (answer.reason or "").casefold()
    if reason.startswith("jira-quota"):
        return "site"
    return "endpoint" if reason.startswith("jira-burst") else None


def _retry(at: Situation, reason: str) -> Next:
    was = at.progress
    # A re-create's is that of the first create; what fails now has failed since now.
    is_new = was.recreates > 0 and was.failures == 0
    since = at.now if is_new or was.failing_since is None else was.failing_since
    progress = replace(was, failures=was.failures + 1, failing_since=since)
    if at.now - since >= PATIENCE:
        return Next("review", None, "kept_failing", progress)
    # Full jitter. The exponent is bounded because the number of failures is not.
    longest = min(FIRST_PAUSE_SECONDS * 2 ** min(was.failures, 20), LONGEST_PAUSE_SECONDS)
    return Next("retry_wait", max(longest * at.jitter, 0.2), reason, progress)


def _unread(answer: Failure, at: Situation) -> Next:
    if at.deadline is not None:
        return _unseen(answer, at, at.deadline)
    if isinstance(answer, Unknown):
        # Only a read was sent, which creates nothing.
        return _retry(at, "not_reached")
    if isinstance(answer, AuthProblem) and answer.is_page:
        # Perhaps of something in front of Jira, for a moment; and if it is a login, `/myself` meets it, too.
        return replace(_retry(at, "web_page"), may_be_the_site=True)
    if isinstance(answer, Rejected) and answer.about == "draft":
        # The search was refused, not the draft.
        return Next("blocked", None, "set_up", at.progress, may_be_the_site=True)
    return _surely_not_created(answer, at)


def _unseen(answer: Failure, at: Situation, deadline: datetime) -> Next:
    """Look again after a failed look, which says nothing about the ticket; name a fault of configuration."""
    if at.now - deadline >= PATIENCE:
        return Next("review", None, "not_confirmed", at.progress)
    if _may_be_mended(answer, at):
        return Next("unknown", 0.0, "token_renewed", at.progress)
    again = _look_again(at.progress, _look_delay(at, deadline))
    if isinstance(answer, AuthProblem) and answer.is_of_scope:
        # Nothing is learnt before the token has the scope, so this sync probes no more often than others.
        return replace(again, delay=SCOPE_PROBE_SECONDS, reason="look_refused", site_trouble=SCOPE_MISSING)
    if isinstance(answer, Throttled):
        asked = answer.retry_after or 0
        pause = _pause(answer, max(asked, FIRST_PAUSE_SECONDS))
        return replace(again, delay=max(again.delay or 0, asked), pause=pause)
    if isinstance(answer, AuthProblem | Rejected):
        return replace(again, reason="look_refused", may_be_the_site=True)
    return again


def is_of_sight(outcome: Outcome, at: Situation) -> bool:
    """Return True if the outcome depends on whether the account that looked would see the ticket."""
    return isinstance(outcome, Absent) and at.deadline is not None


def _absent(at: Situation) -> Next:
    assert at.deadline is not None  # noqa: S101 - one looks only after a create
    is_settled = at.now >= at.deadline + _settled_after(at)
    if not at.can_see:
        # Not seeing is not absence: it is not counted, and when it would be certain a person decides.
        if is_settled:
            return Next("review", None, "cannot_see", at.progress)
        return _look_again(at.progress, _look_delay(at, at.deadline))
    progress = replace(at.progress, absences=at.progress.absences + 1)
    if progress.absences < 2 or not is_settled:
        return _look_again(progress, _look_delay(at, at.deadline))
    if not _may_recreate(at):
        return Next("review", None, "absent_again", progress)
    since = (progress.failing_since if progress.recreates else None) or at.deadline
    recreated = Progress(failing_since=since, recreates=progress.recreates + 1)
    return Next("pending", 0, "create_again", recreated)


def _settled_after(at: Situation) -> timedelta:
    """Return the time after a create's deadline from which absence counts, doubled with each re-create.

    A Jira that swallows one create after the other may as well be one that shows its tickets late.
    """
    return timedelta(seconds=at.settle * 2.0**at.progress.recreates)


def _may_recreate(at: Situation) -> bool:
    """Return True if a re-create is allowed: four at most, and within 24 hours of the first create."""
    recreates, since = at.progress.recreates, at.progress.failing_since
    if recreates == 0:
        return True
    return recreates < MOST_RECREATES and (since is None or at.now - since < PATIENCE)


def _in_doubt(was: Progress) -> Progress:
    """Forget the failures before a create in doubt; after a re-create time counts from the first failure."""
    return replace(was, failures=0, failing_since=was.failing_since if was.recreates else None)


def _look_again(was: Progress, delay: float) -> Next:
    return Next("unknown", delay, "no_answer", replace(_in_doubt(was), looks=was.looks + 1))


def _look_delay(at: Situation, deadline: datetime) -> float:
    """Return seconds to the next look of the schedule, at most until absence begins to count."""
    looks = min(at.progress.looks, len(LOOK_AFTER_SECONDS) - 1)
    following = LOOK_AFTER_SECONDS[looks + 1] if looks + 1 < len(LOOK_AFTER_SECONDS) else None
    delay = float(following - LOOK_AFTER_SECONDS[looks]) if following else float(_LONG_AGO)
    settled_in = (deadline - at.now + _settled_after(at)).total_seconds()
    return min(delay, settled_in) if settled_in > 0 else delay

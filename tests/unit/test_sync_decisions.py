"""The decision on a sync after each outcome: the whole of `decide`, as a table."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from threadsync.reasons import REASONS
from worker.db.syncs.progress import FRESH, STARTS, Progress
from worker.http_once import NotSent, Unknown
from worker.jira.answers import About, AuthProblem, CallFailed, Created, JiraIssue, Rejected, Throttled
from worker.jira.decide import (
    LONGEST_PAUSE_SECONDS,
    LOOK_AFTER_SECONDS,
    SCOPE_PROBE_SECONDS,
    Absent,
    Found,
    Next,
    Outcome,
    Several,
    Situation,
    Unread,
    decide,
    is_of_sight,
)
from worker.jira.record import end_of_doubt

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTLE = 600.0
ISSUE = JiraIssue("10001", "PROJ-1")
IN_DOUBT = NOW - timedelta(seconds=20)


def ago(**passed: float) -> datetime:
    return NOW - timedelta(**passed)


def decided(
    outcome: Outcome,
    progress: Progress = FRESH,
    jitter: float = 0.5,
    deadline: datetime | None = None,
    now: datetime = NOW,
    settle: float = SETTLE,
    was_renewed: bool = False,
    can_see: bool = True,
) -> Next:
    return decide(outcome, Situation(progress, now, settle, jitter, deadline, was_renewed, can_see))


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "asks_the_site"),
    [
        (Created("10001", "PROJ-1"), "done", None, False),
        (Found(ISSUE), "done", None, False),
        (Several(("PROJ-1", "PROJ-2")), "review", "several_tickets", False),
        (Unknown("no answer"), "unknown", "no_answer", False),
        (Unknown("503", 503), "unknown", "no_answer", False),
        (NotSent("refused"), "retry_wait", "not_reached", False),
        (NotSent("an edge", 403), "retry_wait", "edge_refused", False),
        (Throttled(None, None, "slow down"), "retry_wait", "rate_limit", False),
        (Rejected(400, "the draft"), "failed", "draft_refused", False),
        (Rejected(413, "too large"), "failed", "draft_refused", False),
        (Rejected(400, "a field", about="set_up"), "blocked", "set_up", True),
        (Rejected(400, "no such type", about="place"), "blocked", "not_found", True),
        (Rejected(400, "may not", about="access"), "blocked", "no_access", True),
        (Rejected(404, "no project", about="place"), "blocked", "not_found", True),
        (Rejected(410, "gone", about="place"), "blocked", "not_found", True),
        (Rejected(422, "set-up", about="set_up"), "blocked", "set_up", True),
        (AuthProblem(401, "who?"), "blocked", "no_access", True),
        (AuthProblem(403, "no"), "blocked", "no_access", True),
        (AuthProblem(302, "a login"), "blocked", "no_access", True),
        (AuthProblem(401, "ended", is_renewed=True), "retry_wait", "token_renewed", False),
        (AuthProblem(401, "scope", is_of_scope=True), "blocked", "scope_missing", False),
        (Unread(CallFailed(Unknown("no answer"))), "retry_wait", "not_reached", False),
        (Unread(CallFailed(Unknown("503", 503))), "retry_wait", "not_reached", False),
        (Unread(CallFailed(NotSent("refused"))), "retry_wait", "not_reached", False),
        (Unread(CallFailed(Throttled(3, None, ""))), "retry_wait", "rate_limit", False),
        (Unread(CallFailed(AuthProblem(401, ""))), "blocked", "no_access", True),
        (Unread(CallFailed(AuthProblem(401, "", is_renewed=True))), "retry_wait", "token_renewed", False),
        (Unread(CallFailed(AuthProblem(401, "", is_of_scope=True))), "blocked", "scope_missing", False),
        (Unread(CallFailed(Rejected(400, ""))), "blocked", "set_up", True),
        (Unread(CallFailed(Rejected(404, "", about="place"))), "blocked", "not_found", True),
        (Unread(CallFailed(Rejected(405, "", about="place"))), "blocked", "not_found", True),
        (Unread(CallFailed(Rejected(410, "", about="place"))), "blocked", "not_found", True),
        (Unread(CallFailed(AuthProblem(302, ""))), "blocked", "no_access", True),
        (Unread(CallFailed(AuthProblem(200, "expired"))), "blocked", "no_access", True),
        (Unread(CallFailed(AuthProblem(200, "a page", is_page=True))), "retry_wait", "web_page", True),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_becomes_of_a_sync(
    outcome: Outcome, state: str, reason: str | None, asks_the_site: bool
) -> None:
    """A first outcome leads to its state; only what was surely not created may be tried again."""
    following = decided(outcome)
    assert (following.state, following.reason) == (state, reason)
    assert following.may_be_the_site == asks_the_site
    assert reason is None or reason in REASONS


@pytest.mark.parametrize("state", ["done", "retry_wait", "unknown", "blocked", "failed", "review"])
def test_what_goes_on_by_itself_has_a_time(state: str) -> None:
    """A state that goes on by itself has a delay, and one that waits for a person has none."""
    outcomes: dict[str, Outcome] = {
        "done": Found(ISSUE),
        "retry_wait": NotSent("refused"),
        "unknown": Unknown("no answer"),
        "blocked": AuthProblem(401, ""),
        "failed": Rejected(400, ""),
        "review": Several(("PROJ-1", "PROJ-2")),
    }
    following = decided(outcomes[state])
    assert following.state == state
    assert (following.delay is not None) == (state in ("done", "retry_wait", "unknown"))


@pytest.mark.parametrize(
    ("failures", "jitter", "delay"),
    [(0, 1.0, 2), (1, 1.0, 4), (3, 0.5, 8), (8, 1.0, 512), (9, 1.0, 900), (500, 1.0, 900), (4, 0.0, 0.2)],
)
def test_pauses_double_with_full_jitter(failures: int, jitter: float, delay: float) -> None:
    """Pauses double from 2 s to 15 minutes, with full jitter."""
    following = decided(NotSent("refused"), Progress(failures, ago(hours=1)), jitter)
    assert following.delay == pytest.approx(delay)
    assert following.delay is not None
    assert following.delay <= LONGEST_PAUSE_SECONDS
    assert following.progress.failures == failures + 1
    assert following.progress.failing_since == ago(hours=1)


def test_after_a_day_a_person_must_look() -> None:
    """A sync that has failed for a day goes to review."""
    assert decided(NotSent("refused"), Progress(90, ago(hours=23, minutes=59))).state == "retry_wait"
    following = decided(NotSent("refused"), Progress(90, ago(hours=24)))
    assert (following.state, following.reason) == ("review", "kept_failing")


@pytest.mark.parametrize(
    ("retry_after", "reason", "at_least", "scope"),
    [
        (None, None, 2, None),
        (30, None, 30, None),
        (0, "jira-per-issue-on-write", 2, None),
        (7, "jira-burst-based", 7, "endpoint"),
        (7, "Jira-Burst-Based", 7, "endpoint"),
        (1800, "jira-quota-global-based", 1800, "site"),
        (60, "jira-quota-tenant-based", 60, "site"),
        (60, "a-new-one", 60, None),
    ],
)
def test_a_rate_limit_costs_time_and_no_attempt(
    retry_after: float | None, reason: str | None, at_least: float, scope: str | None
) -> None:
    """A rate limit costs time and no attempt, and pauses the site, the endpoint or this sync alone."""
    sync = Progress(failures=3, failing_since=ago(hours=30))
    for jitter in (0.0, 0.5, 1.0):
        following = decided(Throttled(retry_after, reason, ""), sync, jitter)
        assert following.state == "retry_wait"
        assert following.delay is not None
        assert at_least <= following.delay <= at_least * 1.2
        assert following.progress.failures == 3
        assert (following.pause.scope if following.pause else None) == scope
        assert following.pause is None or following.pause.seconds == following.delay


def test_the_schedule_of_looks() -> None:
    """A ticket is looked for after 5, 15, 30, 60, 120, 300 and 600 s, then every ten minutes."""
    first = decided(Unknown("no answer"))
    at = [first.delay or 0]
    progress = first.progress
    for _ in range(8):
        # With so long a settle time the schedule alone decides.
        following = decided(Unread(CallFailed(Unknown("503", 503))), progress, deadline=NOW, settle=86_000)
        assert (following.state, following.reason) == ("unknown", "no_answer")
        at.append(at[-1] + (following.delay or 0))
        progress = following.progress
    assert tuple(at[:7]) == LOOK_AFTER_SECONDS
    assert at[7:] == [1200, 1800]


def test_a_look_is_taken_just_when_absence_begins_to_count() -> None:
    """The next look is taken when absence begins to count, not only when the schedule has one."""
    following = decided(Absent(), Progress(looks=4), deadline=ago(seconds=5), settle=20)
    assert following.delay == pytest.approx(15)


@pytest.mark.parametrize(
    ("deadline", "absences", "recreates", "state", "reason"),
    [
        (ago(seconds=599), 5, 0, "unknown", "no_answer"),
        (ago(seconds=600), 0, 0, "unknown", "no_answer"),
        (ago(seconds=600), 1, 0, "pending", "create_again"),
        (ago(hours=30), 1, 0, "pending", "create_again"),
        (ago(seconds=1199), 5, 1, "unknown", "no_answer"),
        (ago(seconds=1200), 1, 1, "pending", "create_again"),
        (ago(seconds=2399), 5, 2, "unknown", "no_answer"),
        (ago(seconds=2400), 1, 2, "pending", "create_again"),
        (ago(seconds=4799), 5, 3, "unknown", "no_answer"),
        (ago(seconds=4800), 1, 3, "pending", "create_again"),
        (ago(seconds=9599), 5, 4, "unknown", "no_answer"),
        (ago(seconds=9600), 1, 4, "review", "absent_again"),
    ],
)
def test_when_absence_counts(
    deadline: datetime, absences: int, recreates: int, state: str, reason: str
) -> None:
    """A second, late absence leads to another create, each time twice as late, at most four times."""
    progress = Progress(looks=3, absences=absences, recreates=recreates)
    following = decided(Absent(), progress, deadline=deadline)
    assert (following.state, following.reason) == (state, reason)
    if state == "unknown":
        assert following.progress.absences == absences + 1
    if state == "pending":
        assert following.progress.recreates == recreates + 1


def test_a_jira_that_swallows_every_create_is_asked_five_times() -> None:
    """A Jira that swallows every create is asked five times, after waits that double."""
    now, progress, creates, waited = NOW, FRESH, 0, list[float]()
    while True:
        creates, began = creates + 1, now
        following = decided(Unknown("no answer"), progress, now=now)
        deadline = now + timedelta(seconds=15)
        while following.state == "unknown":
            now += timedelta(seconds=following.delay or 0)
            following = decided(Absent(), following.progress, now=now, deadline=deadline)
        waited.append((now - began).total_seconds())
        if following.state == "review":
            break
        progress = following.progress
    assert (creates, following.reason) == (5, "absent_again")
    assert waited == pytest.approx([615, 1215, 2415, 4815, 9615])


def test_later_re_creates_are_for_the_first_day() -> None:
    """The first re-create is always made; later ones only within a day of the first failure."""
    first = decided(Absent(), Progress(absences=1), deadline=ago(hours=20), settle=72_000)
    assert (first.state, first.progress.failing_since) == ("pending", ago(hours=20))
    later = NOW + timedelta(hours=41)
    progress = Progress(absences=1, recreates=1, failing_since=ago(hours=20))
    following = decided(Absent(), progress, deadline=later - timedelta(hours=40), now=later, settle=72_000)
    assert following.reason == "absent_again"


def test_what_fails_after_a_re_create_has_a_day_of_its_own() -> None:
    """A re-create that does not reach Jira is tried for a day of its own."""
    following = decided(NotSent("refused"), Progress(0, ago(hours=30), recreates=1))
    assert (following.state, following.progress.failing_since) == ("retry_wait", NOW)


def test_a_look_that_failed_is_no_absence() -> None:
    """A failed look is no absence, and a day without any response leads to review."""
    failed = Unread(CallFailed(Unknown("503", 503)))
    following = decided(failed, Progress(looks=2, absences=1), deadline=ago(hours=1))
    assert (following.state, following.progress.absences) == ("unknown", 1)
    following = decided(failed, Progress(looks=200), deadline=ago(hours=24))
    assert (following.state, following.reason) == ("review", "not_confirmed")


def test_a_look_that_is_refused_is_about_the_site() -> None:
    """A refused look concerns the site, and the sync stays unknown, so that no second ticket is made."""
    following = decided(Unread(CallFailed(AuthProblem(401, ""))), deadline=IN_DOUBT)
    assert (following.state, following.reason) == ("unknown", "look_refused")
    assert following.may_be_the_site


@pytest.mark.parametrize("status", [302, 400, 404, 405, 410])
def test_a_look_that_the_set_up_prevents_says_so(status: int) -> None:
    """A look that the configuration prevents goes on by itself, and shows its reason until then."""
    answer = AuthProblem(status, "") if status == 302 else Rejected(status, "", about="place")
    following = decided(Unread(CallFailed(answer)), deadline=IN_DOUBT)
    assert (following.state, following.reason, following.may_be_the_site) == ("unknown", "look_refused", True)
    assert following.delay is not None


@pytest.mark.parametrize(
    ("reason", "scope"), [(None, None), ("jira-burst-based", "endpoint"), ("jira-quota-tenant-based", "site")]
)
def test_a_look_that_is_throttled_waits_as_told(reason: str | None, scope: str | None) -> None:
    """A throttled look waits as told, and pauses other syncs only where they share the limit."""
    following = decided(Unread(CallFailed(Throttled(1800, reason, ""))), deadline=IN_DOUBT)
    assert (following.state, following.delay) == ("unknown", 1800)
    assert (following.pause.scope if following.pause else None) == scope


@pytest.mark.parametrize("outcome", [Unknown("no answer"), NotSent("refused"), Throttled(1, None, "")])
def test_a_second_create_stays_the_second_one(outcome: Outcome) -> None:
    """A second create stays the second after a failure, because otherwise a further one would be allowed."""
    assert decided(outcome, Progress(recreates=1)).progress.recreates == 1


def test_progress_is_the_same_in_python_and_in_postgres() -> None:
    """The fields of a sync's progress are the columns that a restart resets."""
    assert [column for column, _ in STARTS] == [field.name for field in fields(Progress)]


ENDED = AuthProblem(401, "ended", is_renewed=True)
SCOPE = AuthProblem(401, "scope", is_of_scope=True)


@pytest.mark.parametrize("outcome", [ENDED, Unread(CallFailed(ENDED))], ids=["create", "search"])
def test_another_token_is_tried_once_and_at_once(outcome: Outcome) -> None:
    """A 401 that another token may mend is repeated without delay or failure; the next one is a refusal."""
    progress = Progress(failures=3, failing_since=ago(hours=1))
    following = decided(outcome, progress)
    assert (following.delay, following.progress, following.pause) == (0, progress, None)
    again = decided(outcome, progress, was_renewed=True)
    assert (again.state, again.reason, again.may_be_the_site) == ("blocked", "no_access", True)


def test_another_token_is_tried_once_in_doubt() -> None:
    """In doubt such a 401 is another look at once, outside the schedule; the next one is a refused look."""
    progress = Progress(looks=3, absences=1, recreates=1, failing_since=ago(hours=1))
    following = decided(Unread(CallFailed(ENDED)), progress, deadline=IN_DOUBT)
    assert (following.state, following.reason, following.delay) == ("unknown", "token_renewed", 0)
    assert following.progress == progress
    again = decided(Unread(CallFailed(ENDED)), progress, deadline=IN_DOUBT, was_renewed=True)
    assert (again.state, again.reason, again.may_be_the_site) == ("unknown", "look_refused", True)
    assert (again.progress.looks, again.progress.absences) == (4, 1)


@pytest.mark.parametrize("was_renewed", [False, True])
@pytest.mark.parametrize("outcome", [SCOPE, Unread(CallFailed(SCOPE))], ids=["create", "search"])
def test_a_missing_scope_parks_the_site_unasked(outcome: Outcome, was_renewed: bool) -> None:
    """A missing scope parks the site by itself: who we are is not the question, and no token mends it."""
    following = decided(outcome, was_renewed=was_renewed)
    assert (following.state, following.delay, following.is_parked) == ("blocked", None, True)
    assert (following.site_trouble, following.may_be_the_site) == ("scope_missing", False)


def test_a_missing_scope_in_doubt_parks_the_site_and_looks_again() -> None:
    """A look without its scope parks the site, proves nothing, and is repeated when the site is probed."""
    progress = Progress(looks=2, absences=1)
    following = decided(Unread(CallFailed(SCOPE)), progress, deadline=IN_DOUBT)
    assert (following.state, following.reason) == ("unknown", "look_refused")
    assert (following.site_trouble, following.delay) == ("scope_missing", SCOPE_PROBE_SECONDS)
    assert following.progress.absences == 1
    late = decided(Unread(CallFailed(SCOPE)), progress, deadline=ago(hours=24))
    assert (late.state, late.reason) == ("review", "not_confirmed")


@pytest.mark.parametrize("absences", [0, 1, 5])
@pytest.mark.parametrize("recreates", [0, 1, 4])
def test_not_seeing_is_not_absence(recreates: int, absences: int) -> None:
    """Absence that would count goes to an operator if the account may not see the ticket."""
    progress = Progress(absences=absences, recreates=recreates, failing_since=ago(hours=1))
    deadline = ago(hours=23)
    following = decided(Absent(), progress, deadline=deadline, can_see=False)
    assert (following.state, following.reason, following.delay) == ("review", "cannot_see", None)
    assert following.progress.absences == absences
    assert end_of_doubt(Absent(), following) is None


@pytest.mark.parametrize("absences", [0, 1])
def test_not_seeing_is_not_counted(absences: int) -> None:
    """A look of an account that may not see the ticket is none of the two that must say no."""
    following = decided(Absent(), Progress(absences=absences), deadline=ago(seconds=599), can_see=False)
    assert (following.state, following.reason) == ("unknown", "no_answer")
    assert (following.progress.looks, following.progress.absences) == (1, absences)
    assert decided(Absent(), Progress(), deadline=ago(seconds=599)).progress.absences == 1


@pytest.mark.parametrize(
    ("outcome", "deadline", "expected"),
    [
        (Absent(), ago(hours=1), True),
        (Absent(), ago(seconds=1), True),
        (Absent(), None, False),
        (Found(ISSUE), ago(hours=1), False),
        (Unread(CallFailed(Unknown("503", 503))), ago(hours=1), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_an_absence_asks_what_the_account_sees(
    outcome: Outcome, deadline: datetime | None, expected: bool
) -> None:
    """Only where nothing was found of a create in doubt is it asked what the account would see."""
    assert is_of_sight(outcome, Situation(Progress(), NOW, SETTLE, 0.5, deadline)) == expected


@pytest.mark.parametrize(
    ("about", "named", "expected"),
    [
        ("reporter", True, ("retry_wait", "reporter_refused", 0.0)),
        ("reporter", False, ("blocked", "set_up", None)),
        ("set_up", True, ("blocked", "set_up", None)),
        ("draft", True, ("failed", "draft_refused", None)),
    ],
)
def test_a_refused_reporter_is_left_out(
    about: About, named: bool, expected: tuple[str, str, float | None]
) -> None:
    """A create that is refused for its reporter alone is repeated at once, and counts as no failure."""
    at = Situation(Progress(failures=2), NOW, SETTLE, 0.5, named_reporter=named)
    following = decide(Rejected(400, "Jira refused it", about=about), at)
    assert (following.state, following.reason, following.delay) == expected
    assert following.progress.failures == 2


def test_a_hit_counts_whoever_looks() -> None:
    """A ticket that was found is adopted, also by an account that may not see all."""
    assert decided(Found(ISSUE), deadline=IN_DOUBT, can_see=False).state == "done"

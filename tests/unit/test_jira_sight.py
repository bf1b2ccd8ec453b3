"""Which creates in doubt an account may not see, and what shows that a missing scope is there again."""

from __future__ import annotations

import pytest

from worker.db.syncs.claim import Sender
from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, CallFailed, Created, JiraIssue, Rejected, Throttled
from worker.jira.breaker import shows_acceptance
from worker.jira.decide import Absent, Found, Outcome, Several, Unread
from worker.jira.sight import to_be_shown

OURS, OTHERS, UNKNOWN = Sender(account="a"), Sender(account="b"), Sender()
REPORTED, OTHERS_REPORTED = Sender(account="a", has_reporter=True), Sender(account="b", has_reporter=True)


@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        ((), ()),
        ((OURS,), ()),
        ((OTHERS,), (OTHERS,)),
        ((UNKNOWN,), (UNKNOWN,)),
        ((REPORTED,), (REPORTED,)),
        ((OTHERS_REPORTED,), (OTHERS_REPORTED,)),
        ((OURS, OTHERS, REPORTED), (OTHERS, REPORTED)),
    ],
    ids=str,
)
def test_what_an_account_must_be_shown_to_see(
    senders: tuple[Sender, ...], expected: tuple[Sender, ...]
) -> None:
    """An account sees for sure what it sent itself without a reporter, and nothing else."""
    assert to_be_shown(senders, "a") == expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Created("1", "PROJ-1"), True),
        (Found(JiraIssue("1", "PROJ-1")), True),
        (Several(("PROJ-1", "PROJ-2")), True),
        (Absent(), True),
        (Rejected(400, "the draft"), True),
        (AuthProblem(401, "scope", is_of_scope=True), False),
        (AuthProblem(403, "no"), False),
        (Throttled(None, None, "slow down"), False),
        (NotSent("away"), False),
        (Unknown("no answer"), False),
        (Unread(CallFailed(Rejected(400, "the search"))), False),
        (Unread(CallFailed(Unknown("no answer"))), False),
    ],
    ids=str,
)
def test_what_shows_that_requests_are_accepted_again(outcome: Outcome, expected: bool) -> None:
    """A probing sync resumes the others by what Jira carried out or judged, not by what is unclear."""
    assert shows_acceptance(outcome) == expected

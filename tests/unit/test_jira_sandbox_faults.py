"""Faults of the sandbox Jira: the ticket that each leaves, and the call that it meets."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.jira.faults import (
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    RandomFaults,
    Redirect,
    Refuse,
    Slow,
    Status,
    StripLabel,
    Throttle,
    Truncated,
)
from sandbox.jira.jql import Query
from sandbox.jira.replies import Drop, Reply
from sandbox.jira.site import JiraSite
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import MARKER, answer, ask, create_body

AT_ONCE = (
    CommitThenDrop(),
    CommitThenStatus(),
    Hang(60, committed=True),
    Slow(60),
    Truncated(),
    NotJson(),
    StripLabel(),
)
LATE = (CommitLate(30), CommitLate(30, "status"), CommitLate(30, "hang"))
NEVER = (
    DropBeforeCommit(),
    Status(),
    Hang(60, committed=False),
    Throttle(),
    Refuse(),
    HtmlRefusal(),
    Redirect(),
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def site(clock: VirtualClock) -> JiraSite:
    return JiraSite(clock=clock)


@pytest.mark.parametrize(
    ("fault", "now", "later"),
    [
        *((fault, 1, 1) for fault in AT_ONCE),
        *((fault, 0, 1) for fault in LATE),
        *((fault, 0, 0) for fault in NEVER),
    ],
)
def test_what_a_fault_leaves_behind(
    fault: Fault, now: int, later: int, site: JiraSite, clock: VirtualClock
) -> None:
    """A fault leaves a ticket at once, later or never, and the next create succeeds."""
    site.fail("create", fault)
    ask(site, "POST", "3/issue", create_body())
    assert len(site.issues_with(MARKER)) == now
    clock.advance(30)
    assert len(site.issues_with(MARKER)) == later
    assert site.met == {type(fault).__name__: 1}
    assert answer(site, "POST", "3/issue", create_body())[1]["key"] == f"PROJ-{later + 1}"


@pytest.mark.parametrize("fault", [*AT_ONCE, *LATE])
def test_a_bad_draft_makes_no_ticket_under_any_fault(
    fault: Fault, site: JiraSite, clock: VirtualClock
) -> None:
    """A bad draft makes no ticket under any fault."""
    site.fail("create", fault)
    ask(site, "POST", "3/issue", create_body(summary=""))
    clock.advance(60)
    assert site.issues == ()


def test_a_stripped_label_is_on_no_version(site: JiraSite) -> None:
    """A stripped label is never in the index, as if an automation had been quicker."""
    site.fail("create", StripLabel())
    assert answer(site, "POST", "3/issue", create_body())[0] == 201
    assert site.issues[0].labels == ()
    assert list(site.search(Query(label=MARKER))) == []


def test_queued_faults_come_before_the_plan(site: JiraSite) -> None:
    """Queued faults come before the plan's, one a call, in order, each for its endpoint."""
    seen: list[tuple[str, Any]] = []

    def plan(endpoint: str, body: Any) -> Fault | None:
        seen.append((endpoint, body))
        return Status(500) if endpoint == "get" else None

    site.plan = plan
    site.fail("myself", Status(502), Status(504))
    statuses = [answer(site, "GET", path)[0] for path in ("3/issue/PROJ-1", "3/myself", "3/myself")]
    assert statuses == [500, 502, 504]
    assert answer(site, "GET", "3/myself")[0] == 200
    assert seen == [("get", {}), ("myself", {})]
    assert site.met == {"Status": 3}
    assert [call.endpoint for call in site.calls] == ["get", "myself", "myself", "myself"]
    site.plan = None
    site.fail("get", Status())
    site.forget_faults("get")
    assert answer(site, "GET", "3/issue/PROJ-1")[0] == 404
    with pytest.raises(ValueError, match="no such endpoint"):
        site.fail("issue", Status())


def test_faults_at_random_are_the_same_for_the_same_seed() -> None:
    """Random faults repeat with the same seed, and each has its share of its own endpoints."""
    shares: list[tuple[Fault, float]] = [(CommitThenDrop(), 0.3), (Status(), 0.2)]
    runs = [[plan("create", {}) for _ in range(1000)] for plan in (RandomFaults(shares, 7) for _ in "ab")]
    assert runs[0] == runs[1]
    assert 250 < runs[0].count(CommitThenDrop()) < 350
    assert 150 < runs[0].count(Status()) < 250
    assert RandomFaults(shares)("get", {}) is None
    with pytest.raises(ValueError, match="more than 1"):
        RandomFaults([*shares, *shares, *shares])


def test_a_hang_outlasts_its_time(site: JiraSite) -> None:
    """A hang lasts its time; a late commit that hangs outlasts every client."""
    site.fail("create", Hang(3, committed=False), CommitLate(3, "hang"))
    assert ask(site, "POST", "3/issue", create_body()) == Drop(3)
    assert ask(site, "POST", "3/issue", create_body()) == Drop(300)


def test_only_jira_leaves_a_trace_id(site: JiraSite) -> None:
    """Only Jira's own responses have a trace id, each its own; the page of a proxy has none."""
    site.fail("myself", HtmlRefusal())
    replies = [ask(site, "GET", path) for path in ("3/myself", "3/myself", "2/myself")]
    headers = [reply.headers for reply in replies if isinstance(reply, Reply)]
    assert [sorted(item) for item in headers] == [
        ["Content-Type"],
        ["Content-Type", "atl-traceid"],
        ["Content-Type", "X-AREQUESTID"],
    ]
    assert headers[1]["atl-traceid"] != headers[2]["X-AREQUESTID"]

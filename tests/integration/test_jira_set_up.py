"""A Jira with a wrong configuration or another address, reported as such and fixed by a retry."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from sandbox.chaos.world import World
from sandbox.jira.faults import (
    CommitThenDrop,
    DropBeforeCommit,
    Fault,
    NotJson,
    Redirect,
    Refuse,
    Status,
)
from sandbox.jira.site import ScreenField
from tests.support.servers import as_owner
from worker.db import SessionStore
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.operate import decisions
from worker.operate.decisions import Signature

ANN = Signature("ann", "because")
EARLY, LATE = "1700000001.000100", "1700000002.000100"
_numbers = itertools.count(1)


@pytest.fixture
def world(pool: Pool) -> Iterator[World]:
    """Create a session with a requested ticket, and its Jira."""
    number = next(_numbers)
    world = World(pool, f"{1_700_000_000 + number}.000100", search_lag=0, settle=60, seed=number)
    world.ask("First", EARLY)
    yield world
    world.close()


def stands(world: World) -> tuple[str, str | None]:
    return world.state().state, world.state().reason


def a_required_field(world: World) -> None:
    world.site.screen["customfield_10010"] = ScreenField("Team", required=True)


def no_labels(world: World) -> None:
    del world.site.screen["labels"]


def no_such_type(world: World) -> None:
    world.target = replace(world.target, issue_type="Epos")


def no_such_project(world: World) -> None:
    world.target = replace(world.target, project_key="GONE")


@pytest.mark.parametrize(
    ("spoil", "reason", "told"),
    [
        (a_required_field, "set_up", "customfield_10010: Team is required."),
        (no_labels, "set_up", "labels: Field 'labels' cannot be set."),
        (no_such_type, "not_found", "issuetype: Specify a valid issue type"),
        (no_such_project, "not_found", "project: valid project is required"),
    ],
)
def test_a_refusal_about_the_set_up_is_no_fault_of_the_draft(
    world: World, spoil: Any, reason: str, told: str
) -> None:
    """A refusal about Jira's configuration blocks the sync with Jira's words, and a retry then succeeds."""
    screen, target = dict(world.site.screen), world.target
    spoil(world)
    world.work()
    assert stands(world) == ("blocked", reason)
    assert told in (world.detail().detail or "")
    world.site.screen, world.target = screen, target
    world.store.retry_all_blocked(actor="ann", reason="mended")
    world.work()
    assert stands(world) == ("done", None)


def test_a_type_may_be_given_by_its_id(world: World) -> None:
    """An issue type may be configured by its id."""
    world.target = replace(world.target, issue_type="10002")
    world.work()
    assert [issue.issue_type for issue in world.site.issues] == ["Bug"]


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (Status(404), "blocked", "not_found"),
        (Status(405), "blocked", "not_found"),
        (Status(410), "blocked", "not_found"),
        (Redirect("https://sso.example/login"), "blocked", "no_access"),
        (Status(503), "retry_wait", "not_reached"),
        (NotJson(), "retry_wait", "web_page"),
    ],
    ids=str,
)
def test_a_search_at_the_wrong_address(world: World, fault: Fault, state: str, reason: str) -> None:
    """A search at a wrong address blocks the sync at once; a server error only delays it."""
    world.site.fail("search", fault)
    world.work()
    assert stands(world) == (state, reason)
    assert world.site.issues == ()


def test_a_login_page_for_everything_parks_the_site(world: World) -> None:
    """A login page in place of every response blocks the site until a probe gets a real one."""
    world.site.plan = lambda endpoint, body: NotJson()
    world.work()
    assert stands(world) == ("blocked", "web_page")
    assert world.state().parked
    world.site.plan = None
    world.clock.advance(31)
    world.probe()
    world.work()
    assert stands(world) == ("done", None)


@pytest.mark.parametrize("fault", [Status(410), Redirect(), Refuse(403, ("no",))], ids=str)
def test_a_look_that_is_refused_says_so_and_goes_on(world: World, fault: Fault) -> None:
    """A refused look leaves the sync `unknown`; once Jira accepts it, the ticket is found."""
    world.site.fail("create", CommitThenDrop())
    world.work()
    world.clock.advance(6)
    world.site.fail("bulkfetch", fault)
    world.site.fail("search", fault)
    world.work()
    assert stands(world) == ("unknown", "look_refused")
    world.clock.advance(60)
    world.work()
    assert (stands(world), len(world.site.issues)) == (("done", None), 1)


def test_a_changed_address_frees_what_was_parked(world: World) -> None:
    """A changed Jira address frees the syncs that the old one had blocked."""
    good, world.site.token = world.site.token, "another"
    world.work()
    assert stands(world) == ("blocked", "no_access")
    assert world.state().parked
    old, world.site.token = world.target.site, good
    world.target = replace(world.target, site="new.example")
    assert world.store.unpark("new.example") == 1
    assert world.store.trouble_of(old).reason is None
    assert world.store.unpark("new.example") == 0
    world.work()
    assert stands(world) == ("done", None)
    assert world.state().site == "new.example"


def test_what_waits_goes_to_the_new_address(world: World) -> None:
    """A waiting sync goes to the new Jira address and makes one ticket there."""
    world.site.fail("create", Refuse(429, ("later",)))
    world.work()
    assert stands(world) == ("retry_wait", "rate_limit")
    world.clock.advance(5)
    world.target = replace(world.target, site="new.example")
    world.site.fail("create", CommitThenDrop())
    world.work()
    world.clock.advance(6)
    world.work()
    assert (stands(world), world.state().site) == (("done", None), "new.example")


def test_a_ticket_of_another_jira_is_left_alone(world: World) -> None:
    """A ticket at the former Jira address is not touched by later steps at the new one."""
    world.work()
    old = world.target.site
    world.target = replace(world.target, site="new.example")
    for _ in range(3):
        world.clock.advance(100)
        world.work()
    assert world.state().next_attempt_at is None
    assert world.state().site == old
    assert world.site.issues[0].remote_links == ()
    steps = [(attempt.step, attempt.outcome) for attempt in world.detail().attempts[1:]]
    assert steps == [("link_back", "unclear"), ("audit", "unclear")]
    assert world.store.sites_of([world.session_id]) == {world.session_id: old}


def test_a_doubt_at_another_jira_is_for_a_person(world: World) -> None:
    """A sync in doubt at the former Jira address goes to review."""
    world.site.fail("create", DropBeforeCommit())
    world.work()
    world.clock.advance(6)
    world.target = replace(world.target, site="new.example")
    world.work()
    assert stands(world) == ("review", "site_changed")


def test_a_link_without_a_sync_is_on_record(pool: Pool, store: SessionStore) -> None:
    """A link of a session without a sync is recorded with the session and in the list of decisions."""
    session = store.get_or_create_session("C1", "1700000000.000100", "U1")
    decisions.link(pool, session, "PROJ-1", ANN)
    (action,) = SyncStore(pool).actions(session.id)
    assert (action.action, action.actor, action.reason) == ("link", "ann", "because")
    (decision,) = OverviewStore(pool).decisions(10)
    assert (decision.action, decision.session_id, decision.actor) == ("link", session.id, "ann")


def test_a_newer_draft_begins_as_fresh_as_a_retry(world: World, database_url: str) -> None:
    """A newer draft resets the same counters as a retry."""
    spoil = """UPDATE syncs SET state = 'review', reason = 'absent_again', detail = 'x', failures = 3,
        failing_since = now(), looks = 7, absences = 1, recreates = 4, unfinished_claims = 2,
        next_attempt_at = NULL, queued_until = now() + interval '1 h'"""
    counts = """SELECT state, reason, detail, parked, failures, failing_since, looks, absences, recreates,
        unfinished_claims, queued_until, next_attempt_at IS NULL, fence FROM syncs"""
    rows = []
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(spoil)
        world.store.retry(world.session_id, actor="ann", reason="again")
        rows += connection.execute(counts).fetchall()
        connection.execute(spoil)
        assert world.ask("Another", LATE) == "applied"
        rows += connection.execute(counts).fetchall()
    *first, fence = rows[0]
    *second, next_fence = rows[1]
    assert first == second == ["pending", None, None, False, 0, None, 0, 0, 0, 0, None, False]
    assert next_fence == fence + 1

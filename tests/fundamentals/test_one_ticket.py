"""A session gets one ticket, though Jira loses responses and workers die. Time is virtual here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest

from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.world import World
from sandbox.jira.faults import CommitThenDrop, DropBeforeCommit, Refuse
from worker.db.pool import Pool

SETTLE = 600
"""Seconds after an unanswered create during which "not found" proves nothing."""


def ask_for_a_ticket(pool: Pool, thread_ts: str) -> World:
    """Make a session that has asked for its ticket, in a Jira whose search is two minutes behind."""
    world = World(pool, thread_ts, search_lag=120, settle=SETTLE, seed=1)
    world.ask("The export stops at page two", "1700000000.000200")
    return world


@pytest.fixture
def world(pool: Pool) -> Iterator[World]:
    """One session that has asked for its ticket."""
    with closing(ask_for_a_ticket(pool, "1700000000.000100")) as world:
        yield world


def let_it_work(world: World, seconds: float) -> None:
    """Let a worker run every five seconds of this time."""
    until = world.clock() + seconds
    while world.clock() < until:
        world.work()
        world.clock.advance(5)


def let_it_end(world: World) -> None:
    """Let workers run until the sync is done, and an hour longer."""
    while world.state().state != "done":
        let_it_work(world, 5)
    world.clock.advance(3600)
    let_it_work(world, 5)


def tickets(world: World) -> list[str]:
    return [issue.key for issue in world.site.issues]


def test_a_request_becomes_a_ticket_that_links_back(world: World) -> None:
    """The session is synced with its key; the ticket has a link to the thread."""
    world.work()
    assert world.state().state == "done"
    session = world.sessions.get_session(world.session_id)
    assert session is not None
    assert (session.status, session.jira_key) == ("synced", "PROJ-1")
    let_it_work(world, 20)
    (issue,) = world.site.issues
    assert issue.summary == "The export stops at page two"
    (link,) = issue.remote_links
    assert "1700000000.000100" in link.url


def test_after_a_lost_response_the_ticket_is_searched_and_not_created_again(world: World) -> None:
    """Jira created the ticket, and the connection ended. To create again would make a second one."""
    world.site.fail("create", CommitThenDrop())
    world.work()
    assert (world.state().state, world.state().reason) == ("unknown", "no_answer")
    let_it_work(world, 20)
    assert (world.state().state, world.state().origin) == ("done", "found")
    assert tickets(world) == ["PROJ-1"]


def test_a_ticket_that_was_not_created_is_created_after_the_settle_window(world: World) -> None:
    """Not before: within the settle window a search may still miss a ticket that exists."""
    world.site.fail("create", DropBeforeCommit())
    let_it_work(world, SETTLE - 60)
    assert (world.state().state, tickets(world)) == ("unknown", [])
    let_it_work(world, 300)
    assert (world.state().state, tickets(world)) == ("done", ["PROJ-1"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_at_any_instant_makes_no_second_ticket(pool: Pool, when: str) -> None:
    """Each session's worker dies a step later than the one before it, until one ends its work first."""
    origins = set()
    for step in itertools.count(1):
        with closing(ask_for_a_ticket(pool, f"1700000000.{step:06}")) as world:
            died = world.work(Interruption(step, when, "crash")).crashed  # type: ignore[arg-type]
            had_only_a_ticket = (world.state().state, tickets(world)) == ("inflight", ["PROJ-1"])
            let_it_end(world)
            assert tickets(world) == ["PROJ-1"]
            if had_only_a_ticket:
                origins.add(world.state().origin)
        if not died:
            break
    # Where the ticket existed and the row did not say so, the next worker found it.
    assert origins == {"found"}


def test_a_refusal_names_its_reason_and_a_new_draft_helps(world: World) -> None:
    """Jira's refusal is kept as a reason, and a create that cannot succeed is not repeated."""
    world.site.fail("create", Refuse(400, ("Summary is not allowed",)))
    let_it_work(world, 3600)
    assert (world.state().state, world.state().reason, tickets(world)) == ("failed", "draft_refused", [])
    assert world.ask("Another summary", "1700000000.000300") == "applied"
    let_it_work(world, 10)
    assert tickets(world) == ["PROJ-1"]


def test_a_repeated_request_changes_nothing(world: World) -> None:
    """Slack delivers events again, and brokers deliver messages again."""
    world.work()
    assert world.ask("The export stops at page two", "1700000000.000200") == "unchanged"
    let_it_work(world, 3600)
    assert tickets(world) == ["PROJ-1"]

"""One session, one ticket: what is promised, with a Jira that loses its answers. Time is virtual here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.world import World
from sandbox.jira.faults import CommitThenDrop, DropBeforeCommit, Refuse
from worker.db.pool import Pool

SETTLE = 600
AFTER_THE_POST = 7
"""The step at which a worker has the answer: state, claim, site, two searches, commit, create."""


@pytest.fixture
def world(pool: Pool) -> Iterator[World]:
    """A session that has asked for its ticket; Jira's search is two minutes behind."""
    world = World(pool, "1700000000.000100", search_lag=120, settle=SETTLE, seed=1)
    world.ask("The export stops at page two", "1700000000.000200")
    yield world
    world.close()


def let_it_work(world: World, seconds: float) -> None:
    """Workers come by while so much time passes."""
    until = world.clock() + seconds
    while world.clock() < until:
        world.work()
        world.clock.advance(5)


def tickets(world: World) -> list[str]:
    return [issue.key for issue in world.site.issues]


def test_a_request_becomes_a_ticket_that_leads_back(world: World) -> None:
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


def test_an_answer_that_was_lost_is_looked_for_and_not_asked_again(world: World) -> None:
    """Jira made the ticket, and the connection ended. A client that tried again would make a second one."""
    world.site.fail("create", CommitThenDrop())
    world.work()
    assert (world.state().state, world.state().reason) == ("unknown", "no_answer")
    let_it_work(world, 20)
    assert (world.state().state, world.state().origin) == ("done", "found")
    assert tickets(world) == ["PROJ-1"]


def test_what_was_not_created_is_asked_again_once_that_is_certain(world: World) -> None:
    """Not before the time has passed within which a ticket could still come to light."""
    world.site.fail("create", DropBeforeCommit())
    let_it_work(world, SETTLE - 60)
    assert (world.state().state, tickets(world)) == ("unknown", [])
    let_it_work(world, 300)
    assert (world.state().state, tickets(world)) == ("done", ["PROJ-1"])


def test_a_worker_that_dies_with_the_answer_in_hand_makes_no_second_ticket(world: World) -> None:
    """The ticket is there, the row does not say so yet: the next worker finds it."""
    steps = world.work(Interruption(AFTER_THE_POST, "after", "crash"))
    assert steps.names[-1] == "create"
    assert tickets(world) == ["PROJ-1"]
    assert world.state().state == "inflight"
    let_it_work(world, 60)
    assert (world.state().state, world.state().origin) == ("done", "found")
    assert tickets(world) == ["PROJ-1"]


def test_a_refusal_names_its_reason_and_a_person_mends_it(world: World) -> None:
    """Nothing is lost in silence, and nothing is tried again that cannot succeed."""
    world.site.fail("create", Refuse(400, ("Summary is not allowed",)))
    let_it_work(world, 3600)
    assert (world.state().state, world.state().reason, tickets(world)) == ("failed", "draft_refused", [])
    assert world.ask("Another summary", "1700000000.000300") == "applied"
    let_it_work(world, 10)
    assert tickets(world) == ["PROJ-1"]


def test_a_request_that_is_repeated_changes_nothing(world: World) -> None:
    """Slack delivers events again, brokers deliver messages again."""
    world.work()
    assert world.ask("The export stops at page two", "1700000000.000200") == "unchanged"
    let_it_work(world, 3600)
    assert tickets(world) == ["PROJ-1"]

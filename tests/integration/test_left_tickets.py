"""Unlinked tickets, passed over and commented once, without another ticket from an old draft."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from sandbox.chaos.world import World
from sandbox.jira.faults import (
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    NotJson,
    Refuse,
    Status,
    Throttle,
    Truncated,
)
from sandbox.jira.issues import Draft
from threadsync.actors import SlackActor
from threadsync.syncs import UnlinkedTicket
from worker.db.pool import Pool
from worker.jira.setup import Setup
from worker.jira.unlink import PROPERTY, UnlinkStep, lease_of

ANN = SlackActor(user_id="U0456", team_id="T0123")
SETTLE = 600
numbers = itertools.count(1)


class Unlinking(World):
    """A simulated session whose tickets can be unlinked and linked again."""

    def unlink(self, key: str | None = None) -> str:
        key = key or self.state().jira_key or ""
        at = f"{self.clock():.6f}"
        left = self.sessions.unlink(*self.thread, key, ANN, "the wrong one", uuid4(), at)
        return left.outcome

    def link_key(self, key: str) -> str:
        return self.sessions.link(*self.thread, key, ANN, uuid4()).outcome

    def ask_now(self, summary: str = "It is broken") -> str:
        self.clock.advance(1)
        return self.ask(summary, f"{self.clock():.6f}")

    def leave(self, key: str) -> None:
        """Run the step of ``syncs.leave`` for the ticket."""
        setup = Setup(self.store, self._jira, self.target, jitter=self.draw.random, clock=self.time)
        if claim := self.store.unlinked.claim(self.session_id, key, lease=lease_of(setup)):
            UnlinkStep(setup, claim).run()

    def left(self) -> UnlinkedTicket:
        (ticket,) = self.store.unlinked.of(self.session_id)
        return ticket

    def work_until(self, *states: str) -> None:
        for _ in range(60):
            if self.state().state in states:
                return
            self.work()
            self.clock.advance(30)
        raise AssertionError(f"still {self.state().state}: {self.state().reason}")

    def leave_until_over(self, key: str) -> None:
        for _ in range(400):
            if self.left().next_attempt_at is None:
                return
            self.leave(key)
            self.clock.advance(30)
        raise AssertionError(f"still {self.left()}")

    def told(self, key: str) -> list[Any]:
        issue = self.site.find(key)
        assert issue is not None
        return [comment for comment in issue.comments if PROPERTY in comment.properties]


@pytest.fixture
def world(pool: Pool) -> Iterator[Unlinking]:
    number = next(numbers)
    world = Unlinking(pool, f"{1_700_000_000 + number}.000100", search_lag=0, settle=SETTLE, seed=number)
    yield world
    world.close()


def test_the_next_request_makes_another_ticket_and_passes_over_the_one_taken_off(world: Unlinking) -> None:
    """The next request makes another ticket, and search and audit pass over the unlinked one."""
    world.ask_now()
    world.work_until("done")
    assert world.unlink() == "applied"
    assert (world.state().state, world.state().reason) == ("failed", "unlinked")
    assert world.ask_now("Another one") == "applied"
    world.work_until("done")
    assert (world.state().jira_key, world.state().origin) == ("PROJ-2", "created")
    world.work()
    world.clock.advance(SETTLE + 60)
    world.work()
    assert world.state().duplicates == ()
    assert world.detail().attempts[-1].step == "audit"
    assert len(world.site.issues) == 2


def test_nothing_is_made_without_a_request_of_after(world: Unlinking) -> None:
    """After an unlink neither the repeated old draft nor a retry makes a ticket."""
    world.ask_now()
    before = f"{world.clock():.6f}"
    world.work_until("done")
    world.unlink()
    assert world.ask("It is broken", before) == "stale"
    assert not world.store.retry(world.session_id, actor="ann", reason="again")
    for _ in range(5):
        world.work()
        world.clock.advance(SETTLE)
    assert len(world.site.issues) == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_ticket_that_was_only_named_is_passed_over_too(world: Unlinking, pool: Pool, moved: bool) -> None:
    """An unlinked ticket known by its key alone is passed over too, even after it was moved."""
    world.ask_now()
    world.work_until("done")
    first = world.state().jira_key or ""
    # Leaves the ticket known by its key alone, like one that was linked by hand.
    with pool.connection() as connection:
        connection.execute("UPDATE syncs SET jira_id = NULL")
    world.unlink()
    if moved:
        world.site.projects["OTHER"] = "10099"
        world.site.move(first, "OTHER")
    world.ask_now("Another one")
    world.work_until("done")
    assert world.state().origin == "created"
    assert len(world.site.issues) == 2


@pytest.mark.parametrize("is_there", [True, False])
def test_a_create_in_doubt_stays_in_doubt_over_an_unlink(world: Unlinking, is_there: bool) -> None:
    """A create in doubt stays in doubt over an unlink: a found ticket is linked, an absent one not made."""
    world.site.fail("create", CommitThenDrop() if is_there else DropBeforeCommit())
    world.site.search_lag = 3600
    world.site.fail("bulkfetch", *[Status(503)] * 3)
    world.ask_now()
    world.work_until("unknown")
    world.link_key("PROJ-77")
    assert world.unlink("PROJ-77") == "applied"
    assert world.state().state == "unknown"
    world.site.search_lag = 0
    world.work_until("done", "failed")
    if is_there:
        assert (world.state().state, world.state().jira_key) == ("done", "PROJ-1")
    else:
        assert (world.state().state, world.state().reason) == ("failed", "unlinked")
    assert len(world.site.issues) == is_there


def test_of_what_was_in_doubt_the_ticket_that_was_taken_off_is_not_found_again(world: Unlinking) -> None:
    """An unlinked ticket that a create in doubt had made is not found again."""
    world.site.fail("create", CommitThenDrop())
    world.site.fail("bulkfetch", *[Status(503)] * 3)
    world.site.search_lag = 3600
    world.ask_now()
    world.work_until("unknown")
    world.link_key("PROJ-1")
    world.unlink("PROJ-1")
    world.site.search_lag = 0
    world.work_until("done", "failed")
    assert (world.state().state, world.state().reason) == ("failed", "unlinked")
    assert world.sessions.get_session_by_thread(*world.thread).jira_key is None  # type: ignore[union-attr]


def test_the_old_ticket_loses_the_link_and_gets_one_comment(world: Unlinking) -> None:
    """An unlinked ticket loses its link to Slack and gets one comment without people's words."""
    world.ask_now()
    world.work_until("done")
    world.work()
    issue = world.site.find("PROJ-1")
    assert issue is not None
    assert len(issue.remote_links) == 1
    world.unlink()
    world.leave_until_over("PROJ-1")
    issue = world.site.find("PROJ-1")
    assert issue is not None
    assert issue.remote_links == ()
    (comment,) = world.told("PROJ-1")
    assert "a Slack thread" in str(comment.body)
    assert "wrong one" not in str(comment.body)
    assert world.left().state == "got its comment in Jira"
    world.leave("PROJ-1")
    assert len(world.told("PROJ-1")) == 1


@pytest.mark.parametrize("days", [0, 3])
def test_what_could_not_be_tried_for_days_is_done_afterwards(world: Unlinking, days: int) -> None:
    """After days without a worker, and while Jira asks to wait, the link still goes and the comment comes."""
    world.ask_now()
    world.work_until("done")
    world.work()
    world.unlink()
    if days:
        world.clock.advance(days * 86_400)
    world.store.pause_site(world.target.site, 3_600)
    world.leave("PROJ-1")
    if not days:
        # Jira asks to wait again and again.
        for _ in range(72):
            world.store.pause_site(world.target.site, 3_600)
            world.clock.advance(3_590)
            world.leave("PROJ-1")
    assert world.told("PROJ-1") == []
    world.clock.advance(3_700)
    world.leave_until_over("PROJ-1")
    issue = world.site.find("PROJ-1")
    assert issue is not None
    assert (issue.remote_links, len(world.told("PROJ-1"))) == ((), 1)
    assert world.left().state == "got its comment in Jira"


def test_what_was_not_tried_for_a_month_is_given_up(world: Unlinking) -> None:
    """A step that no worker has tried for a month is given up."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    world.clock.advance(31 * 86_400)
    world.leave("PROJ-1")
    assert world.left().state == "got no comment in Jira: kept failing"


@pytest.mark.parametrize(
    "faults",
    [
        (CommitThenDrop(),),
        (CommitThenStatus(503), CommitThenStatus(503)),
        (CommitLate(200),),
        (CommitLate(590), Status(503)),
        (DropBeforeCommit(), DropBeforeCommit()),
        (Hang(60, committed=True),),
        (Hang(60, committed=False), CommitThenDrop()),
        (NotJson(),),
        (Truncated(),),
        (Throttle(5), CommitThenDrop()),
        (Refuse(401, ("no",)), CommitThenDrop()),
    ],
    ids=str,
)
def test_whatever_becomes_of_the_answer_there_is_one_comment(
    world: Unlinking, faults: tuple[Fault, ...]
) -> None:
    """An unlinked ticket gets exactly one comment, whatever faults the comment meets."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    world.site.plan = only_for("comment", faults)
    world.leave_until_over("PROJ-1")
    world.clock.advance(SETTLE)
    assert len(world.told("PROJ-1")) == 1
    assert world.left().commented_at is not None


def only_for(endpoint: str, faults: tuple[Fault, ...]) -> Any:
    """Make a plan in which each fault meets one write to the endpoint, and reads meet none."""
    waiting = list(faults)

    def plan(asked: str, body: Any) -> Fault | None:
        return waiting.pop(0) if asked == endpoint and body and waiting else None

    return plan


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Refuse(400, ("no",)), "got no comment in Jira: rejected"),
        (Status(503), "got no comment in Jira: kept failing"),
    ],
)
def test_after_a_day_or_a_refusal_it_is_given_up_and_says_so(
    world: Unlinking, fault: Fault, state: str
) -> None:
    """A comment that is refused, or fails for a day, is given up with its reason."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    world.site.plan = lambda endpoint, body: fault if endpoint == "comment" else None
    for _ in range(120):
        world.leave("PROJ-1")
        world.clock.advance(900)
    assert world.detail().unlinked[0].state == state
    assert world.left().next_attempt_at is None


def test_a_ticket_that_was_deleted_needs_no_comment(world: Unlinking) -> None:
    """A deleted ticket needs no comment and is given up as gone."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    world.site.delete("PROJ-1")
    world.leave_until_over("PROJ-1")
    assert world.left().given_up == "gone"


def test_a_ticket_that_is_linked_again_is_told_nothing(world: Unlinking) -> None:
    """A ticket that is linked again gets no comment; a later unlink makes a comment of its own."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    assert world.link_key("PROJ-1") == "applied"
    world.leave("PROJ-1")
    assert world.told("PROJ-1") == []
    assert world.left().state == "was linked again"
    world.unlink()
    world.leave_until_over("PROJ-1")
    world.link_key("PROJ-1")
    world.unlink()
    world.leave_until_over("PROJ-1")
    assert len(world.told("PROJ-1")) == 2


def test_the_sweep_knows_what_is_due(world: Unlinking) -> None:
    """The sweep takes an unlinked ticket once, and again when its message was lost."""
    world.ask_now()
    world.work_until("done")
    world.unlink()
    world.clock.advance(60)
    due = [(world.session_id, "PROJ-1")]
    assert world.store.unlinked.take_due(most=10, for_seconds=30) == due
    assert world.store.unlinked.take_due(most=10, for_seconds=30) == []
    world.clock.advance(31)
    assert world.store.unlinked.take_due(most=10, for_seconds=30) == due


def test_a_token_that_ends_between_the_calls(world: Unlinking) -> None:
    """A question that meets an ended access token is asked once more with another one, in the same step."""
    key = world.site.commit(Draft("PROJ", "Task", "Of a person")).key
    world.change_login("oauth")
    assert world.link_key(key) == "applied"
    assert world.unlink(key) == "applied"

    ends_at = {"get", "comment"}

    def revoke(endpoint: str, body: object) -> None:
        if endpoint in ends_at:
            ends_at.remove(endpoint)
            world.site.logins.revoke_access_tokens()

    world.site.plan = revoke
    world.leave(key)
    assert (len(world.told(key)), ends_at) == (1, set())
    assert [call.endpoint for call in world.site.calls].count("token") == 3

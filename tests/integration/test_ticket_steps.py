"""The table of steps that follow a ticket: which begin when, and who may write them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from sandbox.chaos.world import World
from tests.support.servers import as_owner
from threadsync.actors import SlackActor
from threadsync.ticket_steps import TicketStep
from worker.db.pool import Pool
from worker.db.ticket_steps.store import NewStep, StepClaim, StepKey, TicketStepStore

ANN = SlackActor(user_id="U0456", team_id="T0123")
numbers = itertools.count(1)


class Ticket(World):
    """A session with a ticket, and the steps that follow it."""

    @property
    def steps(self) -> TicketStepStore:
        return self.store.steps

    def make(self) -> None:
        self.clock.advance(1)
        self.ask("It is broken", f"{self.clock():.6f}")
        for _ in range(20):
            if self.state().state == "done":
                break
            self.work()
            self.clock.advance(30)
        # The table's times are the database's, which is behind this world's clock.
        assert self.state().state == "done"

    def unlink_key(self, key: str) -> None:
        self.sessions.unlink(*self.thread, key, ANN, "the wrong one", uuid4(), f"{self.clock():.6f}")

    def link_key(self, key: str) -> None:
        self.sessions.link(*self.thread, key, ANN, uuid4())

    def shown(self) -> list[tuple[str, str, str]]:
        return [(step.jira_key, step.step, step.state) for step in self.steps.of(self.session_id)]

    def claim(self, step: str, file_id: str = "", jira_id: str = "") -> StepClaim | None:
        jira_id = jira_id or self.site.issues[0].id
        return self.steps.claim(StepKey(self.session_id, jira_id, step, file_id), lease=60)  # type: ignore[arg-type]

    def claimed(self, step: str, file_id: str = "", jira_id: str = "") -> StepClaim:
        claim = self.claim(step, file_id, jira_id)
        assert claim is not None
        return claim


@pytest.fixture
def ticket(pool: Pool) -> Iterator[Ticket]:
    number = next(numbers)
    world = Ticket(pool, f"{1_700_000_000 + number}.000100", search_lag=0, settle=600, seed=number)
    yield world
    world.close()


def test_a_ticket_that_was_made_has_a_link_and_a_plan(ticket: Ticket) -> None:
    """A ticket that was created begins with its link and the plan of what follows."""
    ticket.make()
    assert ticket.shown() == [("PROJ-1", "link", "waiting"), ("PROJ-1", "plan", "waiting")]
    claim = ticket.claimed("plan")
    assert (claim.channel_id, claim.thread_ts) == ticket.thread
    assert (claim.jira_id, claim.marker, claim.is_forgotten) == (
        ticket.site.issues[0].id,
        ticket.detail().marker,
        False,
    )
    assert claim.lacks_link_back is True
    assert claim.drafted_at is not None


def test_a_ticket_that_was_linked_has_the_link_alone(ticket: Ticket) -> None:
    """A ticket that a person linked gets the link, and nothing of the thread."""
    ticket.link_key("PROJ-77")
    assert ticket.shown() == [("PROJ-77", "link", "waiting")]
    assert ticket.claimed("link", jira_id="PROJ-77").drafted_at is None


def test_one_process_has_a_step(ticket: Ticket) -> None:
    """A claimed step is no other's until its lease ends, and then the first one writes nothing."""
    ticket.make()
    first = ticket.claimed("link")
    assert ticket.claim("link") is None
    ticket.clock.advance(61)
    second = ticket.claimed("link")
    assert not ticket.steps.begin_write(first, 10)
    assert not ticket.steps.end(first)
    assert ticket.steps.begin_write(second, 10)
    assert ticket.steps.end(second)
    assert ticket.claim("link") is None


def test_a_write_in_doubt_is_known_to_the_next_claim(ticket: Ticket) -> None:
    """A write that was begun and has no end is in doubt for the next claim, until it is settled."""
    ticket.make()
    claim = ticket.claimed("link")
    assert ticket.steps.begin_write(claim, 15)
    ticket.clock.advance(61)
    second = ticket.claimed("link")
    assert second.write_deadline is not None
    assert ticket.steps.release(second, 30, failures=1, is_in_doubt=True, http_status=503)
    assert ticket.claim("link") is None
    ticket.clock.advance(31)
    third = ticket.claimed("link")
    assert (third.write_deadline, third.failures) == (second.write_deadline, 1)
    assert ticket.steps.release(third, 1, failures=1)
    ticket.clock.advance(2)
    assert ticket.claimed("link").write_deadline is None


def test_a_plan_begins_its_steps_once(ticket: Ticket) -> None:
    """A plan begins what the settings say; a file that is not copied is over at once, with its reason."""
    ticket.make()
    new = [NewStep("file", "F1"), NewStep("file", "F2", "too_big"), NewStep("thread")]
    claim = ticket.claimed("plan")
    ticket.steps.plan(claim, "files", new)
    ticket.steps.plan(claim, "files", new)
    assert ticket.shown()[1:] == [
        ("PROJ-1", "plan", "done"),
        ("PROJ-1", "file", "waiting"),
        ("PROJ-1", "file", "given up: too big"),
        ("PROJ-1", "thread", "waiting"),
    ]
    comment = ticket.claimed("thread")
    assert (comment.unfinished, comment.include) == (("F1",), "files")
    assert set(comment.files) == {"F1=pending", "F2=too_big"}


def test_a_comment_is_due_when_its_files_are_over(ticket: Ticket) -> None:
    """The end of a file makes the comment due that waits for it."""
    ticket.make()
    ticket.steps.plan(ticket.claimed("plan"), "files", [NewStep("file", "F1"), NewStep("thread")])
    ticket.steps.release(ticket.claimed("thread"), 3_600, failures=0)
    assert ticket.claim("thread") is None
    ticket.steps.end(ticket.claimed("file", "F1"), "sign_in")
    comment = ticket.claimed("thread")
    assert (comment.unfinished, comment.files) == ((), ("F1=sign_in",))


def test_an_attachment_is_begun_once(ticket: Ticket) -> None:
    """A comment that is cut waits for the attachment, which is one."""
    ticket.make()
    ticket.steps.plan(ticket.claimed("plan"), "text", [NewStep("thread")])
    comment = ticket.claimed("thread")
    assert comment.attachment is None
    ticket.steps.need_attachment(comment, 600)
    ticket.steps.end(ticket.claimed("attachment"))
    comment = ticket.claimed("thread")
    assert comment.attachment == "done"
    ticket.steps.need_attachment(comment, 600)
    assert ("PROJ-1", "attachment", "done") in ticket.shown()


def test_the_steps_of_an_unlinked_ticket_end(ticket: Ticket) -> None:
    """An unlink ends the steps; its own removal of the link waits for the step that may be making it."""
    ticket.make()
    busy = ticket.claimed("link")
    ticket.unlink_key("PROJ-1")
    assert {state for _, _, state in ticket.shown()} == {"given up: unlinked"}
    assert not ticket.steps.begin_write(busy, 10)
    (left,) = ticket.store.unlinked.of(ticket.session_id)
    assert left.next_attempt_at is not None
    assert left.next_attempt_at >= busy.now
    ticket.link_key("PROJ-1")
    assert ("PROJ-1", "link", "waiting") in ticket.shown()
    assert ("PROJ-1", "plan", "given up: unlinked") in ticket.shown()


def test_a_ticket_linked_again_waits_for_the_removal_of_its_link(ticket: Ticket) -> None:
    """The link of a ticket that is linked again comes after the removal that may be on its way."""
    ticket.make()
    ticket.unlink_key("PROJ-1")
    ticket.clock.advance(1)
    removal = ticket.store.unlinked.claim(ticket.session_id, "PROJ-1", lease=300)
    assert removal is not None
    ticket.link_key("PROJ-1")
    assert not ticket.store.unlinked.note_link_removed(removal)
    (waits,) = (step for step in ticket.steps.of(ticket.session_id) if step.state == "waiting")
    assert waits.step == "link"
    assert waits.next_attempt_at is not None
    assert waits.next_attempt_at >= removal.now + timedelta(seconds=300)


def test_the_steps_of_a_forgotten_thread_write_nothing(ticket: Ticket, database_url: str) -> None:
    """In a thread that was forgotten nothing is written any more."""
    ticket.make()
    claim = ticket.claimed("link")
    with psycopg.connect(as_owner(database_url)) as connection:
        connection.execute("UPDATE thread_sessions SET forgotten_at = now()")
    assert not ticket.steps.begin_write(claim, 10)
    ticket.clock.advance(61)
    assert ticket.claimed("link").is_forgotten


def test_the_sweep_takes_what_is_due(ticket: Ticket) -> None:
    """The sweep takes a due step once, and again when its message was lost."""
    ticket.make()
    ticket.clock.advance(60)
    issue = ticket.site.issues[0].id
    due = {StepKey(ticket.session_id, issue, "link"), StepKey(ticket.session_id, issue, "plan")}
    assert set(ticket.steps.take_due(most=10, for_seconds=30)) == due
    assert ticket.steps.take_due(most=10, for_seconds=30) == []
    ticket.clock.advance(31)
    assert set(ticket.steps.take_due(most=10, for_seconds=30)) == due


def test_a_step_is_told_in_words() -> None:
    """A step says what it is, how it stands and what Jira said, by status and fields alone."""
    step = TicketStep(
        jira_key="PROJ-1",
        step="thread",
        file_id="",
        include="text",
        begun_at="2026-11-30T12:00:00Z",
        next_attempt_at=None,
        failures=2,
        done_at=None,
        given_up="rejected",
        http_status=400,
        fields=("comment",),
    )
    assert step.summary() == "PROJ-1 comment with the thread: given up: rejected"
    assert step.said == "HTTP 400: comment"

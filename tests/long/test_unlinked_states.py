"""The state machine of one ticket, with users who unlink tickets from their thread and link them again."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from sandbox.jira.faults import CommitLate, CommitThenDrop, DropBeforeCommit, Status, Throttle
from tests.support.one_ticket import OneTicket
from tests.support.scale import scaled
from threadsync.actors import SlackActor
from threadsync.errors import JiraKeyConflict
from worker.db.pool import Pool
from worker.jira.setup import Setup
from worker.jira.unlink import PROPERTY, UnlinkStep, lease_of

ANN = SlackActor(user_id="U0456", team_id="T0123")


class ChangingMinds(OneTicket):
    """State machine that allows another ticket only for a draft written after the last unlinking."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = 1
        self.left: set[str] = set()
        self.acts = 0
        self.wants_another = False

    @property
    def key(self) -> str | None:
        session = self.world.sessions.get_session(self.world.session_id)
        assert session is not None
        return session.jira_key

    @rule()
    def ask_now(self) -> None:
        """Request a ticket with a draft later than all former steps."""
        self.world.clock.advance(1)
        self.drafts += 1
        before = self.key
        self.world.ask(f"Draft {self.drafts}", f"{self.world.clock():.6f}")
        if self.wants_another and before is None:
            self.allowed += 1
            self.wants_another = False

    @rule()
    def work_on(self) -> None:
        """Run workers for a while, so that many stories have a ticket to unlink."""
        for _ in range(4):
            self.world.work()
            self.world.clock.advance(6)

    @precondition(lambda self: self.key is None and bool(self.left))
    @rule()
    def ask_and_work(self) -> None:
        self.ask_now()
        self.work_on()

    @precondition(lambda self: self.key is not None)
    @rule()
    def take_off(self) -> None:
        key = self.key or ""
        self.world.clock.advance(1)
        left = self.world.sessions.unlink(
            *self.world.thread, key, ANN, "no", uuid4(), f"{self.world.clock():.6f}"
        )
        assert left.outcome == "applied"
        self.left.add(key)
        self.acts += 1
        self.wants_another = True

    @precondition(lambda self: bool(self.left))
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.left)))
        try:
            self.world.sessions.link(*self.world.thread, key, ANN, uuid4())
        except JiraKeyConflict:
            return
        self.left.discard(key)

    @precondition(lambda self: bool(self.left))
    @rule(data=st.data())
    def echo(self, data: st.DataObject) -> None:
        """Repeat late, as a machine, a ticket that a user has unlinked."""
        key = data.draw(st.sampled_from(sorted(self.left)))
        assert self.world.sessions.mark_synced(*self.world.thread, key).outcome == "stale"

    @precondition(lambda self: bool(self.left))
    @rule(
        data=st.data(),
        fault=st.sampled_from(
            (None, CommitThenDrop(), CommitLate(200), DropBeforeCommit(), Status(503), Throttle(5))
        ),
    )
    def tell(self, data: st.DataObject, fault: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.left)))
        if fault:
            self.world.site.fail("comment", fault)
        self.leave(key)

    def leave(self, key: str) -> None:
        world = self.world
        setup = Setup(world.store, world._jira, world.target, jitter=world.draw.random, clock=world.time)
        if claim := world.store.unlinked.claim(world.session_id, key, lease=lease_of(setup)):
            UnlinkStep(setup, claim).run()

    @invariant()
    def never_two_tickets(self) -> None:
        assert len(self.world.site.issues) <= self.allowed

    @invariant()
    def what_was_taken_off_stays_off(self) -> None:
        assert self.key not in self.left

    @invariant()
    def each_farewell_is_said_once(self) -> None:
        said = [
            comment.properties[PROPERTY]["act"]
            for issue in self.world.site.issues
            for comment in issue.comments
        ]
        assert len(said) == len(set(said)) <= self.acts

    def mend(self) -> None:
        world = self.world
        for endpoint in ("create", "search", "bulkfetch", "get", "myself", "remotelink", "comment"):
            world.site.forget_faults(endpoint)
        if self.key is None:
            self.ask_now()
        for _ in range(150):
            if world.state().state == "done":
                break
            world.store.retry_all_blocked(actor="ada", reason="mended")
            if world.state().state in ("failed", "review"):
                world.store.retry(world.session_id, actor="ada", reason="again")
            world.work()
            world.clock.advance(30)
        assert world.state().state == "done"
        assert self.key is not None
        self.never_two_tickets()
        self.what_was_taken_off_stays_off()
        for key in sorted(self.left):
            for _ in range(60):
                self.leave(key)
                world.clock.advance(30)
        self.each_farewell_is_said_once()


@pytest.fixture
def machine(pool: Pool) -> type[ChangingMinds]:
    ChangingMinds.pool = pool
    return ChangingMinds


def test_people_who_change_their_minds_get_no_ticket_too_many(machine: type[ChangingMinds]) -> None:
    """Unlinked tickets stay unlinked, and get one comment each, whatever else happens meanwhile."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=scaled(150),
            stateful_step_count=25,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

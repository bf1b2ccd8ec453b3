"""A state machine over one session: no order of events makes a second ticket or loses one."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.world import World, Zombie
from sandbox.jira.faults import (
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Hang,
    HtmlRefusal,
    NotJson,
    Refuse,
    Status,
    StripLabel,
    Throttle,
    Truncated,
)
from worker.db.pool import Pool

SETTLE = 600

CREATE_FAULTS = (
    CommitThenDrop(),
    CommitThenStatus(503),
    CommitLate(200, "hang"),
    DropBeforeCommit(),
    Status(503),
    Hang(60, committed=True),
    Hang(60, committed=False),
    Throttle(30),
    Refuse(400, ("no",)),
    Refuse(401, ("no",)),
    Refuse(404, ("no",)),
    HtmlRefusal(403),
    NotJson(),
    Truncated(),
    StripLabel(),
)


READ_FAULTS = (DropBeforeCommit(), Status(503), Throttle(5), Refuse(401, ("no",)), Hang(60, committed=False))

interruptions = st.builds(
    Interruption, st.integers(1, 9), st.sampled_from(("before", "after")), st.just("crash")
)


freezes = st.builds(Interruption, st.integers(1, 9), st.sampled_from(("before", "after")), st.just("freeze"))

_numbers = itertools.count(1)


class OneTicket(RuleBasedStateMachine):
    """Whatever happens in whatever order: never two tickets, and never a silent loss."""

    pool: Pool

    def __init__(self) -> None:
        super().__init__()
        self.zombies: list[Zombie] = []
        self.drafts = 0
        number = next(_numbers)
        self.world = World(
            self.pool, f"{1_700_000_000 + number}.000100", search_lag=0, settle=SETTLE, seed=number
        )

    @initialize(lag=st.sampled_from((0, 5, 120)), gap=st.sampled_from((0, 1, 70)))
    def begin(self, lag: int, gap: int) -> None:
        self.world.site.search_lag = lag
        self.world.site.skip_keys(gap)
        self.ask()

    @rule()
    def ask(self) -> None:
        self.drafts += 1
        self.world.ask(f"Draft {self.drafts}", f"{1_700_000_000 + self.drafts}.000100")

    @rule(fault=st.sampled_from(CREATE_FAULTS))
    def spoil_a_create(self, fault: Any) -> None:
        self.world.site.fail("create", fault)

    @rule(
        endpoint=st.sampled_from(("search", "bulkfetch", "get", "myself", "remotelink")),
        fault=st.sampled_from(READ_FAULTS),
    )
    def spoil_a_read(self, endpoint: str, fault: Any) -> None:
        self.world.site.fail(endpoint, fault)

    @rule()
    def work(self) -> None:
        self.world.work()

    @rule(interruption=interruptions)
    def work_and_die(self, interruption: Interruption) -> None:
        self.world.work(interruption)

    @rule(interruption=freezes)
    def stand_still(self, interruption: Interruption) -> None:
        zombie = self.world.freeze(interruption)
        if zombie:
            self.zombies.append(zombie)

    @rule()
    def come_back(self) -> None:
        for zombie in self.zombies:
            zombie.wake()
        self.zombies.clear()

    @rule(seconds=st.sampled_from((1, 6, 30, 130, 700)))
    def pass_time(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule(which=st.sampled_from(("retry", "all", "give up")))
    def decide(self, which: Literal["retry", "all", "give up"]) -> None:
        store, session_id = self.world.store, self.world.session_id
        if which == "retry":
            store.retry(session_id, actor="ada", reason="again")
        elif which == "all":
            store.retry_all_blocked(actor="ada", reason="mended")
        else:
            store.give_up(session_id, actor="ada", reason="not needed")

    @rule()
    def probe(self) -> None:
        self.world.probe()

    @invariant()
    def never_two_tickets(self) -> None:
        assert len(self.world.site.issues) <= 1

    @invariant()
    def never_a_silent_loss(self) -> None:
        """It goes on by itself, or says why it does not."""
        if not self.drafts:
            return
        state = self.world.state()
        if state.state in ("blocked", "failed", "review"):
            assert state.reason
        elif state.state != "done":
            assert state.next_attempt_at is not None

    @invariant()
    def a_synced_session_has_the_right_key(self) -> None:
        session = self.world.sessions.get_session(self.world.session_id)
        assert session is not None
        assert (session.jira_key is None) or session.jira_key in {
            issue.key for issue in self.world.site.issues
        }

    def teardown(self) -> None:
        """In the end all is mended, and there is exactly one ticket."""
        try:
            self.come_back()
            if self.drafts:
                self.mend()
        finally:
            self.come_back()
            self.world.close()

    def mend(self) -> None:
        world = self.world
        for endpoint in ("create", "search", "bulkfetch", "get", "myself", "remotelink"):
            world.site.forget_faults(endpoint)
        for _ in range(100):
            state = world.state()
            if state.state == "done":
                break
            world.store.retry_all_blocked(actor="ada", reason="mended")
            if state.state in ("failed", "review"):
                world.store.retry(world.session_id, actor="ada", reason="again")
            world.work()
            world.clock.advance(30)
        (issue,) = world.site.issues
        session = world.sessions.get_session(world.session_id)
        assert session is not None
        assert (session.status, session.jira_key) == ("synced", issue.key)

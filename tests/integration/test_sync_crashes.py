"""Workers that die at any step of a sync: before or after each SQL transaction and each call to Jira."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import pytest

from sandbox.chaos.interruptions import Interruption
from sandbox.chaos.world import World
from sandbox.jira.faults import CommitLate, CommitThenDrop, DropBeforeCommit, Fault, Status
from tests.support.scale import bounded
from worker.db.pool import Pool

_numbers = itertools.count(1)
WHENS: Sequence[Literal["before", "after"]] = ("before", "after")


@contextmanager
def new_world(pool: Pool, *faults: Fault, search_lag: float = 5) -> Iterator[World]:
    """Create a session with a requested ticket, whose first creates meet the faults."""
    number = next(_numbers)
    world = World(pool, f"{1_700_000_000 + number}.000100", search_lag=search_lag, settle=60, seed=number)
    try:
        world.ask("The export stops", "1700000000.000200")
        world.site.fail("create", *faults)
        yield world
    finally:
        world.close()


def go_on(world: World, turns: int = 60) -> None:
    """Let workers run and time pass until the sync has no next attempt.

    After two lost creates the sync goes to review, and an operator's retry asks for another one.
    """
    for _ in range(turns):
        state = world.state()
        if state.reason == "absent_again":
            world.store.retry(world.session_id, actor="ada", reason="there is none")
        elif state.next_attempt_at is None:
            return
        world.work()
        world.clock.advance(20)
    raise AssertionError(f"still {world.state().summary()}")


def assert_one_ticket(world: World) -> None:
    story = [attempt.summary() for attempt in world.detail().attempts]
    assert len(world.site.issues) == 1, (world.state().summary(), story)
    (issue,) = world.site.issues
    session = world.sessions.get_session(world.session_id)
    assert session is not None
    assert (session.status, session.jira_key) == ("synced", issue.key)
    state = world.state()
    assert (state.state, state.jira_key, state.duplicates) == ("done", issue.key, ())


def turns_of(pool: Pool, *faults: Fault) -> list[int]:
    """Return the number of interruptible steps of each of the sync's runs until it is done."""
    with new_world(pool, *faults) as world:
        counts = []
        while world.state().next_attempt_at is not None:
            counts.append(world.work().count)
            world.clock.advance(20)
        assert_one_ticket(world)
    return counts


FAULTS: Final[Sequence[tuple[Fault, ...]]] = (
    (),
    (CommitThenDrop(),),
    (DropBeforeCommit(),),
    (Status(503),),
    (CommitLate(30),),
    (DropBeforeCommit(), CommitThenDrop()),
)
EVERY: Final = bounded(1, 5)
"""Under ``make test`` every fifth step of a sync with faults is interrupted, and all of one without."""


@pytest.mark.bounded
@pytest.mark.parametrize(
    "faults", FAULTS, ids=lambda faults: "+".join(type(fault).__name__ for fault in faults) or "no fault"
)
def test_a_crash_at_any_step_makes_no_second_ticket_and_loses_none(
    pool: Pool, faults: tuple[Fault, ...]
) -> None:
    """A crash at any step leaves one ticket, linked to its session, in the end."""
    counts = turns_of(pool, *faults)
    assert len(counts) >= 3, "a create, the link back, and the audit"
    steps = [
        (turn, step, when)
        for turn, count in enumerate(counts)
        for step, when in itertools.product(range(1, count + 1), WHENS)
    ]
    for turn, step, when in steps[FAULTS.index(faults) % EVERY :: EVERY if faults else 1]:
        with new_world(pool, *faults) as world:
            for _ in range(turn):
                world.work()
                world.clock.advance(20)
            interrupted = world.work(Interruption(step, when, "crash"))
            assert interrupted.count == step, "it must have come so far"
            world.clock.advance(20)
            go_on(world)
            assert_one_ticket(world)


@pytest.mark.parametrize("fault", [None, CommitThenDrop(), DropBeforeCommit()], ids=str)
def test_a_worker_that_stands_still_and_comes_back_does_no_harm(pool: Pool, fault: Fault | None) -> None:
    """A worker that freezes at any step and goes on after others have finished leaves one ticket."""
    faults = (fault,) if fault else ()
    (count, *_) = turns_of(pool, *faults)
    for step, when in itertools.product(range(1, count + 1), WHENS):
        with new_world(pool, *faults) as world:
            zombie = world.freeze(Interruption(step, when, "freeze"))
            world.clock.advance(120)
            go_on(world)
            if zombie:
                zombie.wake()
            go_on(world)
            assert_one_ticket(world)


def test_two_workers_at_once_make_one_ticket(pool: Pool) -> None:
    """A worker that runs while another is frozen at any step makes no second ticket."""
    (count, *_) = turns_of(pool)
    for step, when in itertools.product(range(1, count + 1), WHENS):
        with new_world(pool) as world:
            zombie = world.freeze(Interruption(step, when, "freeze"))
            world.work()
            if zombie:
                zombie.wake()
            go_on(world)
            assert_one_ticket(world)

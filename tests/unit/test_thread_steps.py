"""The steps that follow a ticket: the decisions as a table, and whole histories in virtual time."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, CallFailed, Failure, Rejected, Throttled
from worker.thread.decide import (
    FIRST_PAUSE_SECONDS,
    PATIENCE,
    Failed,
    Impossible,
    Later,
    Missing,
    Next,
    NotYet,
    Outcome,
    Over,
    Present,
    Situation,
    TicketGone,
    Write,
    Written,
    decide_step,
)
from worker.thread.protocol import COMMIT_SECONDS, run_step

NOW: Final = datetime(2026, 11, 30, tzinfo=UTC)
SETTLE: Final = 600.0
CALM: Final = Situation(NOW, NOW - timedelta(minutes=1), SETTLE, 0.0)
DOUBT: Final = replace(CALM, deadline=NOW - timedelta(seconds=100))
SETTLED: Final = replace(CALM, deadline=NOW - timedelta(seconds=SETTLE))
OLD: Final = replace(CALM, since=NOW - PATIENCE)
REJECTED: Final = Rejected(400, "no")
UNKNOWN: Final = Unknown("no answer")
NOT_SENT: Final = NotSent("no connection")
AUTH: Final = AuthProblem(403, "no")
BUSY: Final = Throttled(60.0, None, "busy")


@pytest.mark.parametrize(
    ("outcome", "at", "following"),
    [
        (Present(), CALM, Over()),
        (Present(), OLD, Over()),
        (Written(), CALM, Over()),
        (TicketGone(), CALM, Over("ticket_gone")),
        (Impossible("sign_in"), CALM, Over("sign_in")),
        (Missing(), CALM, Write()),
        (Missing(), SETTLED, Write()),
        (Missing(), DOUBT, Later(250.0, 0, in_doubt=True)),
        (Missing(), replace(DOUBT, deadline=NOW - timedelta(seconds=590)), Later(10.0, 0, in_doubt=True)),
        (Missing(), replace(OLD, failures=1), Over("kept_failing")),
        # No worker was there to try it.
        (Missing(), OLD, Write()),
        (Missing(), replace(OLD, deadline=NOW), Later(300.0, 0, in_doubt=True)),
        (NotYet(), replace(CALM, failures=2), Later(60.0, 3, in_doubt=False)),
        (NotYet(90.0, is_failure=False), CALM, Later(90.0, 0, in_doubt=False)),
        (NotYet(0.0), replace(CALM, jitter=1.0), Later(1.2, 1, in_doubt=False)),
        (NotYet(5.0), OLD, Over("kept_failing")),
        (Failed(REJECTED, wrote=True), CALM, Over("rejected", REJECTED)),
        (Failed(REJECTED, wrote=False), DOUBT, Over("rejected", REJECTED)),
        (Failed(UNKNOWN, wrote=True), CALM, Later(FIRST_PAUSE_SECONDS, 1, True, UNKNOWN)),
        (Failed(UNKNOWN, wrote=True), OLD, Later(FIRST_PAUSE_SECONDS, 1, True, UNKNOWN)),
        (Failed(UNKNOWN, wrote=False), CALM, Later(FIRST_PAUSE_SECONDS, 1, False, UNKNOWN)),
        (Failed(UNKNOWN, wrote=False), DOUBT, Later(FIRST_PAUSE_SECONDS, 1, True, UNKNOWN)),
        (Failed(NOT_SENT, wrote=True), CALM, Later(FIRST_PAUSE_SECONDS, 1, False, NOT_SENT)),
        (Failed(AUTH, wrote=True), replace(CALM, failures=40), Later(900.0, 41, False, AUTH)),
        (Failed(AUTH, wrote=False), DOUBT, Later(FIRST_PAUSE_SECONDS, 1, True, AUTH)),
        (Failed(AUTH, wrote=True), OLD, Over("kept_failing", AUTH)),
        (Failed(BUSY, wrote=True), replace(CALM, failures=3), Later(60.0, 3, False, BUSY)),
        (Failed(BUSY, wrote=False), DOUBT, Later(60.0, 0, True, BUSY)),
        (Failed(BUSY, wrote=True), OLD, Over("kept_failing", BUSY)),
    ],
)
def test_what_follows_a_call(outcome: Outcome, at: Situation, following: Next) -> None:
    """Each outcome of a call leads to a write, a pause or the end of the step."""
    assert decide_step(outcome, at) == following


Fault = Literal["none", "answer lost", "never arrives", "late", "refused", "busy", "no right", "slow"]
FAULTS: Final[tuple[Fault, ...]] = (
    *("none", "answer lost", "never arrives", "late", "refused", "busy", "no right", "slow"),
)
_SURELY_NOT: Final[dict[Fault, Failure]] = {"refused": NOT_SENT, "busy": BUSY, "no right": AUTH}
TIMEOUT: Final = 10.0
LEASE: Final = 60.0


class Crash(Exception):
    """The process dies."""


@dataclass
class World:
    """A ticket, the row of one step, and time. ``written`` are the moments of what is on the ticket."""

    now: float = 0.0
    written: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    blind_looks: int = 0
    lateness: float = SETTLE - 1
    slack_is_away: int = 0
    pause_before_sending: float = 0.0
    failures: int = 0
    deadline: float | None = None
    due: float = 0.0
    lease: float = 0.0
    fence: int = 0
    over: Over | None = None
    sent: int = 0

    def moment(self, seconds: float) -> datetime:
        return NOW + timedelta(seconds=seconds)

    def there(self) -> int:
        return sum(at <= self.now for at in self.written)


class ModelWork:
    """The calls of a step in the world; the process dies at call number ``dies_at``."""

    def __init__(self, world: World, dies_at: int | None) -> None:
        self.world = world
        self.calls = 0
        self.dies_at = dies_at
        world.fence += 1
        world.lease = world.now + LEASE
        self.fence = world.fence
        self.failures = world.failures
        self.deadline = world.deadline

    def step(self) -> None:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Crash

    def situation(self) -> Situation:
        world = self.world
        deadline = None if self.deadline is None else world.moment(self.deadline)
        return Situation(world.moment(world.now), NOW, SETTLE, 0.5, self.failures, deadline)

    def look(self) -> Present | Missing:
        self.step()
        seen = self.world.there()
        self.world.now += 1
        if self.world.blind_looks > 0:
            self.world.blind_looks -= 1
            raise CallFailed(Unknown("no answer"))
        self.step()
        return Present() if seen else Missing()

    def prepare(self) -> NotYet | None:
        self.step()
        self.world.now += 5
        if self.world.slack_is_away > 0:
            self.world.slack_is_away -= 1
            return NotYet()
        return None

    def begin(self) -> bool:
        self.step()
        if self.world.fence != self.fence:
            return False
        self.world.deadline = self.world.now + COMMIT_SECONDS + TIMEOUT
        self.world.now += self.world.pause_before_sending
        self.step()
        return True

    def write(self) -> Written:
        self.step()
        world = self.world
        world.sent += 1
        fault = world.faults.pop(0) if world.faults else "none"
        sent_at = world.now
        if fault in _SURELY_NOT:
            world.now += 1
            raise CallFailed(_SURELY_NOT[fault])
        if fault == "late":
            world.now += TIMEOUT
            world.written.append(sent_at + TIMEOUT + world.lateness)
            raise CallFailed(UNKNOWN)
        if fault != "never arrives":
            world.written.append(sent_at)
        if fault == "slow":
            world.now += TIMEOUT - 1
        self.step()
        if fault in ("answer lost", "never arrives"):
            world.now += TIMEOUT
            raise CallFailed(UNKNOWN)
        return Written()

    def end(self, following: Later | Over | None) -> None:
        self.step()
        world = self.world
        if following is None or world.fence != self.fence:
            return
        world.lease = 0.0
        if isinstance(following, Over):
            world.over = following
        else:
            world.failures = following.failures
            world.due = world.now + following.seconds
            world.deadline = world.deadline if following.in_doubt else None


def work(world: World, dies_at: int | None = None) -> int:
    """Run a worker once at the moment in which the step is due and free; return its number of calls."""
    if world.over:
        return 0
    world.now = max(world.now, world.due, world.lease)
    one = ModelWork(world, dies_at)
    with suppress(Crash):
        one.end(run_step(one, one.situation, lambda: world.now))
    assert len(world.written) <= 1, f"written {len(world.written)} times"
    return one.calls


def finish(world: World) -> None:
    for _ in range(500):
        if world.over:
            break
        work(world)
    assert world.over, "the step never ends"
    world.now += 10 * SETTLE
    assert world.there() == (1 if world.over == Over() else 0)


@pytest.mark.parametrize(("first", "second"), [*itertools.product(FAULTS, FAULTS)])
def test_whatever_fails_and_wherever_a_process_dies_it_is_written_once(first: Fault, second: Fault) -> None:
    """Over every pair of faults and every call at which a process dies, it is there exactly once."""
    most = 12
    for dies_at, dies_again in itertools.product(range(1, most), (None, *range(1, most))):
        world = World(faults=[first, second])
        work(world, dies_at)
        work(world, dies_again)
        finish(world)
        assert world.over == Over()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(FAULTS), max_size=6),
    st.lists(st.none() | st.integers(1, 12), max_size=10),
    st.integers(0, 6),
    st.integers(0, 4),
    st.floats(0, SETTLE - 1),
    st.sampled_from([0.0, COMMIT_SECONDS - 1, COMMIT_SECONDS + 1]),
)
def test_long_histories_write_it_once_or_say_that_it_was_given_up(
    faults: list[Fault],
    deaths: list[int | None],
    blind_looks: int,
    slack_is_away: int,
    lateness: float,
    pause: float,
) -> None:
    """Any history of faults, deaths, lookless spells and pauses ends with one copy, or none and a reason."""
    world = World(
        faults=faults,
        blind_looks=blind_looks,
        slack_is_away=slack_is_away,
        lateness=lateness,
        pause_before_sending=pause,
    )
    for dies_at in deaths:
        work(world, dies_at)
    world.pause_before_sending = 0.0
    finish(world)


def test_what_sends_too_late_sends_nothing() -> None:
    """A process that was held up between commit and sending sends nothing, and the write is not in doubt."""
    world = World(pause_before_sending=COMMIT_SECONDS + 1)
    work(world)
    assert (world.sent, world.deadline) == (0, None)
    world.pause_before_sending = 0.0
    finish(world)
    assert world.sent == 1


def test_a_lost_claim_sends_nothing() -> None:
    """A process whose claim another one has taken sends nothing."""
    world = World()
    late = ModelWork(world, None)
    work(world)
    assert run_step(late, late.situation, lambda: world.now) in (None, Over())
    assert world.sent == 1


def test_after_a_day_it_is_given_up() -> None:
    """A step that fails for a day is given up, after a last look."""
    world = World(faults=["no right"] * 500)
    finish(world)
    assert world.over is not None
    assert world.over.given_up == "kept_failing"
    assert world.now - 10 * SETTLE < PATIENCE.total_seconds() + 2_000

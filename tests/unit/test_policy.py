"""The decision table for a command that did not succeed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from threadsync.errors import (
    CommandFailed,
    DatabaseFault,
    DatabaseUnavailable,
    InvalidCommand,
    JiraKeyConflict,
    PoisonCommand,
    SessionNotFound,
)
from worker.durable.limits import VISIBILITY_TIMEOUT_SECONDS
from worker.durable.retry_policy import (
    FAULT_PATIENCE_SECONDS,
    HEADER,
    LONGEST_FAULT_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    GiveUp,
    History,
    Wait,
    decide,
    read_history,
)

PATIENCE = 30.0
AWAY = DatabaseUnavailable("away")
MISSING = SessionNotFound("C1", "1.1")
FAULT = DatabaseFault("the table is locked")
OLD = History(pauses=5000, waited=PATIENCE, stuck=FAULT_PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("error", "history", "expected"),
    [
        (AWAY, History(), Wait),
        (AWAY, OLD, Wait),
        (FAULT, History(), Wait),
        (FAULT, History(pauses=5000, stuck=FAULT_PATIENCE_SECONDS - 1), Wait),
        (FAULT, OLD, GiveUp),
        (SoftTimeLimitExceeded(), History(), Wait),
        (SoftTimeLimitExceeded(), OLD, GiveUp),
        (MISSING, History(), Wait),
        (MISSING, History(pauses=9, waited=PATIENCE - 0.001), Wait),
        (MISSING, History(pauses=9, waited=PATIENCE), GiveUp),
        (InvalidCommand("x"), History(), GiveUp),
        (JiraKeyConflict("C1", "1.1", "P-1", "P-2"), History(), GiveUp),
        (PoisonCommand("sessions.get", 5), History(), GiveUp),
        (ValueError("x"), History(), GiveUp),
        (MemoryError(), History(), GiveUp),
    ],
)
def test_the_table(error: BaseException, history: History, expected: type) -> None:
    """An outage is waited out, a fault or a missing session for a while, any other error not at all."""
    assert type(decide(error, history, PATIENCE, 0.5)) is expected


def test_our_errors_are_kept_and_others_named() -> None:
    """A dead letter keeps an error of ours, and names any other by class and text."""
    conflict = JiraKeyConflict("C1", "1.1", "P-1", "P-2")
    assert decide(conflict, History(), PATIENCE, 0) == GiveUp(conflict)
    foreign = decide(KeyError("x"), History(), PATIENCE, 0)
    assert isinstance(foreign, GiveUp)
    assert isinstance(foreign.error, CommandFailed)
    assert str(foreign.error) == "KeyError: 'x'"


@given(jitter=st.floats(0, 1), pauses=st.integers(0, 100_000))
def test_pauses_grow_to_a_bound(jitter: float, pauses: int) -> None:
    """Pauses grow to a bound far below the visibility timeout, so a message never waits into redelivery."""
    decision = decide(AWAY, History(pauses=pauses), PATIENCE, jitter)
    assert isinstance(decision, Wait)
    assert 0 < decision.seconds <= LONGEST_PAUSE_SECONDS < VISIBILITY_TIMEOUT_SECONDS / 2
    assert decision.history.pauses == pauses + 1


@given(jitter=st.floats(0, 1), patience=st.floats(0, 100))
def test_patience_is_spent_exactly(jitter: float, patience: float) -> None:
    """Pauses for a missing session add up to the patience exactly; waiting for the database costs none."""
    history, total = History(), 0.0
    for _ in range(1000):
        away = decide(AWAY, history, patience, jitter)
        assert isinstance(away, Wait)
        assert away.history.waited == history.waited
        decision = decide(MISSING, history, patience, jitter)
        if isinstance(decision, GiveUp):
            break
        history, total = decision.history, total + decision.seconds
    assert isinstance(decision, GiveUp)
    assert total == pytest.approx(patience)


@given(outages=st.lists(st.booleans(), max_size=60), jitter=st.floats(0, 1))
def test_an_hour_of_faults_is_an_hour_whatever_comes_between(outages: list[bool], jitter: float) -> None:
    """Pauses for faults add up to an hour, whatever outages come between."""
    history, paused, last = History(), 0.0, 0.0
    for is_outage in [*outages, *[False] * 1000]:
        decision = decide(AWAY if is_outage else FAULT, history, PATIENCE, jitter)
        if isinstance(decision, GiveUp):
            break
        if not is_outage:
            assert last <= decision.seconds <= LONGEST_FAULT_PAUSE_SECONDS
            last, paused = decision.seconds, paused + decision.seconds
        history = decision.history
    assert decision == GiveUp(FAULT)
    assert FAULT_PATIENCE_SECONDS <= paused < FAULT_PATIENCE_SECONDS + LONGEST_FAULT_PAUSE_SECONDS
    assert history.stuck == pytest.approx(paused)


def test_the_history_travels_in_a_header() -> None:
    """The history is the same after its journey as JSON in a header."""
    history = History(pauses=3, waited=0.7, stuck=1.5, counted=True, first_attempt_at=datetime.now(UTC))
    assert read_history({HEADER: history.model_dump(mode="json")}) == history


@pytest.mark.parametrize(
    "header",
    [None, {}, {HEADER: None}, {HEADER: "x"}, {HEADER: {"pauses": -1}}, {HEADER: {"waited": "long"}}],
)
def test_a_strange_header_is_no_reason_to_fail(header: dict[str, object] | None) -> None:
    """A malformed header is read as an empty history."""
    assert read_history(header) == History()

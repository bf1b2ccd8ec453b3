"""The decision table: what becomes of a command that did not succeed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from worker.celery import VISIBILITY_TIMEOUT_SECONDS
from worker.errors import (
    CommandFailed,
    DatabaseUnavailable,
    InvalidCommand,
    JiraKeyConflict,
    PoisonCommand,
    SessionNotFound,
)
from worker.policy import LONGEST_PAUSE_SECONDS, GiveUp, History, Wait, decide
from worker.task import HEADER, read_history

PATIENCE = 30.0
AWAY = DatabaseUnavailable("away")
MISSING = SessionNotFound("C1", "1.1")
OLD = History(pauses=5000, waited=PATIENCE)


@pytest.mark.parametrize(
    ("error", "history", "expected"),
    [
        (AWAY, History(), Wait),
        (AWAY, OLD, Wait),
        (SoftTimeLimitExceeded(), History(), Wait),
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
    """The database is waited for, the session for a while, and nothing else."""
    assert type(decide(error, history, PATIENCE, 0.5)) is expected


def test_our_errors_are_kept_and_others_named() -> None:
    """The dead letter says what went wrong in either case."""
    conflict = JiraKeyConflict("C1", "1.1", "P-1", "P-2")
    assert decide(conflict, History(), PATIENCE, 0) == GiveUp(conflict)
    foreign = decide(KeyError("x"), History(), PATIENCE, 0)
    assert isinstance(foreign, GiveUp)
    assert isinstance(foreign.error, CommandFailed)
    assert str(foreign.error) == "KeyError: 'x'"


@given(jitter=st.floats(0, 1), pauses=st.integers(0, 100_000))
def test_pauses_grow_to_a_bound(jitter: float, pauses: int) -> None:
    """A waiting message is back in a queue long before the broker would deliver it a second time."""
    decision = decide(AWAY, History(pauses=pauses), PATIENCE, jitter)
    assert isinstance(decision, Wait)
    assert 0 < decision.seconds <= LONGEST_PAUSE_SECONDS < VISIBILITY_TIMEOUT_SECONDS / 2
    assert decision.history.pauses == pauses + 1


@given(jitter=st.floats(0, 1), patience=st.floats(0, 100))
def test_patience_is_spent_exactly(jitter: float, patience: float) -> None:
    """The pauses add up to SESSION_WAIT_SECONDS, then it gives up; waiting for the database costs none."""
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


def test_the_history_travels_in_a_header() -> None:
    """As JSON, and back."""
    history = History(pauses=3, waited=0.7, counted=True, first_attempt_at=datetime.now(UTC))
    assert read_history({HEADER: history.model_dump(mode="json")}) == history


@pytest.mark.parametrize(
    "header",
    [None, {}, {HEADER: None}, {HEADER: "x"}, {HEADER: {"pauses": -1}}, {HEADER: {"waited": "long"}}],
)
def test_a_strange_header_is_no_reason_to_fail(header: dict[str, object] | None) -> None:
    """Whoever writes to the broker can write anything."""
    assert read_history(header) == History()

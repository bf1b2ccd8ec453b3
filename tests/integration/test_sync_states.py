"""A session's ticket as a state machine, in which Hypothesis searches for a harmful order of events."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.one_ticket import OneTicket
from tests.support.scale import bounded
from worker.db.pool import Pool


@pytest.fixture
def machine(pool: Pool) -> type[OneTicket]:
    OneTicket.pool = pool
    return OneTicket


@pytest.mark.bounded
def test_no_order_of_events_makes_a_second_ticket_or_loses_one(machine: type[OneTicket]) -> None:
    """Faults, lag, crashes, late workers, repetitions and decisions in any order lead to one ticket."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=bounded(80, 30),
            stateful_step_count=25,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

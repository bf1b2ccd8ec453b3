"""Seeded runs of chaos, with faults at every step; `make chaos` makes a thousand of them."""

from __future__ import annotations

from sandbox.chaos.run import Tally, run
from worker.db.pool import Pool

RUNS = 120
FIRST_SEED = 20_260_000


def test_a_hundred_runs_of_chaos_end_with_one_ticket_each(pool: Pool) -> None:
    """All runs end with one ticket each; `python -m sandbox.chaos --runs 1 --seed …` repeats a broken one."""
    tally = Tally()
    for number in range(RUNS):
        tally.add(run(pool, FIRST_SEED + number, f"{1_700_000_000 + number}.000100"))
    assert tally.runs == RUNS
    # A run that meets no fault shows nothing.
    assert tally.faults.total() > 1.5 * RUNS
    assert len(tally.faults) >= 12
    assert {"crash", "freeze", "retry", "ask", "reporter refused"} <= set(tally.events)
    # Counted as 0 where it did not happen.
    assert tally.events["create without the refused reporter"]
    assert tally.events["ticket with its requester as the reporter"]

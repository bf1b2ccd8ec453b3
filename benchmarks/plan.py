"""Plans of a benchmark: the amount of work in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """A plan, in which every contender runs once a round.

    Args:
        commands: in the backlog of each run, times the contender's weight.
        rates: commands a second at which latency is measured, each for ``seconds``.
        half_seconds: how long latency is measured at half of what the contender managed in this run, and
            how long at half of what the baseline managed in this round; 0 for neither.
        asked_seconds: how long each client sends a command and waits for its result, again and again.
        sent: commands that each client sends in a turn while no worker runs, times its weight.
        web_runs: pairs of web processes in a round, this version's and an earlier one's; 0 for none.
        imported: sessions of the bulk import, and of psycopg's pipeline.
        big_backlog: commands of one more run each, if not 0.
        table_sizes: sessions that are there before ours runs once more.
        safety: also compare settings of Valkey that lose less, once.
        mutated: mutated messages beside which honest commands are timed.
    """

    name: str
    rounds: int
    commands: int
    rates: tuple[int, ...]
    seconds: float
    half_seconds: float
    asked_seconds: float
    sent: int
    web_runs: int
    imported: int
    big_backlog: int
    table_sizes: tuple[int, ...]
    safety: bool
    mutated: int
    quick: bool


FULL: Final = Plan(
    name="latest",
    rounds=5,
    commands=4_000,
    rates=(10, 100),
    seconds=8,
    half_seconds=4,
    asked_seconds=3,
    sent=500,
    web_runs=3,
    imported=40_000,
    big_backlog=100_000,
    table_sizes=(1_000, 100_000, 1_000_000),
    safety=True,
    mutated=5_000,
    quick=False,
)
QUICK: Final = Plan(
    name="quick",
    rounds=2,
    commands=500,
    rates=(100,),
    seconds=2,
    half_seconds=0,
    asked_seconds=0.5,
    sent=100,
    web_runs=0,
    imported=20_000,
    big_backlog=0,
    table_sizes=(),
    safety=False,
    mutated=300,
    quick=True,
)

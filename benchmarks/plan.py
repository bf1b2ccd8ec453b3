"""Plans of a benchmark: the amount of work in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """A plan, in which every contender runs once a round.

    Args:
        commands: in the backlog of each run.
        rates: commands a second at which latency is measured, each for ``seconds``.
        at_half: also at half of what the contender managed in this run.
        big_backlog: commands of one more run each, if not 0.
        table_sizes: sessions that are there before ours runs, for as many more runs a round.
        imported: sessions of the bulk import, and of psycopg's pipeline.
        mutated: mutated messages beside which honest commands are timed.
    """

    name: str
    rounds: int
    commands: int
    rates: tuple[int, ...]
    seconds: float
    at_half: bool
    big_backlog: int
    table_sizes: tuple[int, ...]
    imported: int
    mutated: int
    quick: bool


FULL: Final = Plan(
    name="latest",
    rounds=5,
    commands=5_000,
    rates=(10, 100),
    seconds=10,
    at_half=True,
    big_backlog=100_000,
    table_sizes=(1_000, 100_000, 1_000_000),
    imported=50_000,
    mutated=5_000,
    quick=False,
)
QUICK: Final = Plan(
    name="quick",
    rounds=2,
    commands=1_000,
    rates=(100,),
    seconds=2,
    at_half=False,
    big_backlog=0,
    table_sizes=(),
    imported=20_000,
    mutated=500,
    quick=True,
)

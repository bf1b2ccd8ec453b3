"""Ratios to the Celery task that does nothing, and threadsync's goals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.entries import BASELINE, ENTRIES, OURS
from benchmarks.figures import Spread, ratios
from benchmarks.limits import LIMITS, PIPELINED
from benchmarks.record import Record

IMPORT: Final = "import"

TITLES: Final = {
    **{entry.name: entry.title for entry in ENTRIES},
    **{name: title for name, (title, _) in LIMITS.items()},
    IMPORT: "threadsync sessions import",
}


@dataclass(frozen=True)
class Goal:
    """A goal of at least or at most ``bound``. ``reached`` is None when it was not measured."""

    text: str
    bound: float
    at_least: bool
    reached: Spread | None

    @property
    def is_met(self) -> bool | None:
        """True if the median reaches the goal; None without a measurement."""
        if self.reached is None:
            return None
        reached = self.reached.median
        return reached >= self.bound if self.at_least else reached <= self.bound


def to_baseline(record: Record, contender: str, figure: str, scene: str = "round") -> Spread | None:
    """Return a figure's ratio to the baseline; None when there is none."""
    return ratios(record.figures(scene, contender, figure), record.figures(scene, BASELINE.name, figure))


def absolute(record: Record, contender: str, figure: str, scene: str = "round") -> Spread | None:
    """Return a figure itself, which is this machine's."""
    numbers = record.figures(scene, contender, figure)
    return Spread.of(numbers.values()) if numbers else None


def latency_figures(record: Record) -> list[str]:
    """Return the names of all latencies, in the order of their measurement."""
    names = (name for run in record.runs for name in run.figures if name.startswith(("p50_", "p99_")))
    return list(dict.fromkeys(names))


def goals(record: Record) -> list[Goal]:
    """Return the goals of this version."""
    return [
        Goal(
            "processing, to a Celery task that does nothing",
            4,
            at_least=True,
            reached=to_baseline(record, OURS.name, "process_rate"),
        ),
        Goal(
            "processing, to the fastest other queue that keeps results",
            2,
            at_least=True,
            reached=ratios(_process(record, OURS.name), _fastest_peer(record)),
        ),
        *_latency_goals(record),
        Goal(
            "bulk import, to psycopg's pipeline",
            0.5,
            at_least=True,
            reached=ratios(_process(record, IMPORT), _process(record, PIPELINED)),
        ),
        *_table_goals(record),
        *_mutated_goals(record),
    ]


def table_sizes(record: Record) -> list[int]:
    """Return the table sizes of the runs on tables, the smallest first."""
    return sorted(int(name.rpartition("-")[2]) for name in record.contenders("table"))


def time_on_table(record: Record, size: int) -> Spread | None:
    """Return the time of a command on a table of this size, as a ratio to the smallest table."""
    smallest = table_sizes(record)[0]
    return ratios(_on_table(record, smallest), _on_table(record, size))


def _latency_goals(record: Record) -> Iterator[Goal]:
    for share in ("p50", "p99"):
        reached = to_baseline(record, OURS.name, f"{share}_ms_at_100")
        yield Goal(f"{share} at 100/s, to a Celery task that does nothing", 1.3, False, reached)


def _table_goals(record: Record) -> Iterator[Goal]:
    sizes: Sequence[int] = table_sizes(record)
    if sizes:
        text = f"time with {sizes[-1]:,} sessions, to that with {sizes[0]:,}"
        yield Goal(text, 1.1, at_least=False, reached=time_on_table(record, sizes[-1]))


def _mutated_goals(record: Record) -> Iterator[Goal]:
    reached = absolute(record, OURS.name, "among_mutants_p99_seconds", "mutated")
    if reached:
        text = f"p99 in seconds beside {record.plan['mutated']:,} mutated messages"
        yield Goal(text, 2, at_least=False, reached=reached)


def _fastest_peer(record: Record) -> dict[int, float]:
    rates: Iterable[dict[int, float]] = [_process(record, entry.name) for entry in ENTRIES if entry.is_peer]
    fastest: dict[int, float] = {}
    for numbers in rates:
        for place, number in numbers.items():
            fastest[place] = max(number, fastest.get(place, 0))
    return fastest


def _process(record: Record, contender: str) -> dict[int, float]:
    return record.figures("round", contender, "process_rate")


def _on_table(record: Record, size: int) -> dict[int, float]:
    return record.figures("table", f"{OURS.name}-{size}", "process_rate")

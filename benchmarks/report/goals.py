"""Goals of this version. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.entries import OURS, OURS_AT_ONCE, OURS_IN_ONE_CALL
from benchmarks.figures import Spread
from benchmarks.limits import PIPELINED
from benchmarks.plan import FULL
from benchmarks.record import BASELINE_HALF, IMPORT, WEB, WEB_BEFORE, Record
from benchmarks.report.comparison import absolute, compare, compare_to_peers, scans, time_on_table
from benchmarks.web_process import BEFORE

_NOOP = "to a Celery task that does nothing"
_PEER = "to the fastest other queue that keeps results"
_STOCK = "to stock Celery's `send_task`"


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


def goals(record: Record) -> list[Goal]:
    """Return the goals of this version, with what was reached."""
    return [
        *_work_goals(record),
        *_sending_goals(record),
        *_latency_goals(record),
        *_memory_goals(record),
        *_database_goals(record),
        *_mutated_goals(record),
    ]


def _work_goals(record: Record) -> Iterator[Goal]:
    ours, rate, cpu = OURS.name, "process_rate", "cpu_seconds_per_1000"
    yield _at_least(18, f"process, {_NOOP}", compare(record, ours, rate))
    yield _at_least(6, f"process, {_PEER}", compare_to_peers(record, rate))
    yield _at_least(0.85, "process, to psycopg's pipeline", compare(record, ours, rate, PIPELINED))
    yield _at_most(0.03, f"worker's CPU a command, {_NOOP}", compare(record, ours, cpu))


def _sending_goals(record: Record) -> Iterator[Goal]:
    def reached(contender: str) -> Spread | None:
        return compare(record, contender, "enqueue_rate", scene="sending")

    yield _at_least(2.6, f"single send, {_STOCK}", reached(OURS.name))
    yield _at_least(1, f"single send, {_PEER}", compare_to_peers(record, "enqueue_rate", "sending"))
    yield _at_least(4.5, f"16 asyncio sends at once, {_STOCK}", reached(OURS_AT_ONCE.name))
    yield _at_least(15, f"`send_many`, {_STOCK}", reached(OURS_IN_ONE_CALL.name))


def _latency_goals(record: Record) -> Iterator[Goal]:
    def reached(figure: str) -> Spread | None:
        return compare(record, OURS.name, figure)

    yield _at_most(0.8, f"p50 at 100/s, {_NOOP}", reached("p50_ms_at_100"))
    yield _at_most(1, f"p99 at 100/s, {_NOOP}", reached("p99_ms_at_100"))
    yield _at_most(
        1, "p50 at half of that task's saturation, to that task", reached(f"p50_ms_at_{BASELINE_HALF}")
    )
    yield _at_most(0.9, "the client's own `get()`, p50, to stock Celery's", reached("own_get_p50_ms"))


def _memory_goals(record: Record) -> Iterator[Goal]:
    def of_web(figure: str) -> Spread | None:
        return compare(record, WEB, figure, WEB_BEFORE, "web")

    of_worker = compare(record, OURS.name, "memory_mb")
    yield _at_most(1.05, f"worker's memory, {_NOOP} in the same environment", of_worker)
    yield _at_most(0.85, f"private memory of a web process, to commit {BEFORE}", of_web("private_mb"))
    yield _at_most(0.65, f"import time of a web process, to commit {BEFORE}", of_web("import_ms"))


def _database_goals(record: Record) -> Iterator[Goal]:
    imported = compare(record, IMPORT, "process_rate", PIPELINED)
    yield _at_least(1.5, "bulk import, to psycopg's pipeline", imported)
    smallest, largest = FULL.table_sizes[0], FULL.table_sizes[-1]
    times = time_on_table(record, largest, smallest)
    yield _at_most(1.1, f"time with {largest:,} sessions, to that with {smallest:,}", times)
    yield _at_most(0, "statements that scan the table of sessions", scans(record))


def _mutated_goals(record: Record) -> Iterator[Goal]:
    reached = absolute(record, OURS.name, "among_mutants_p99_seconds", "mutated")
    if reached:
        yield _at_most(2, f"p99 in seconds beside {record.plan['mutated']:,} mutated messages", reached)


def _at_least(bound: float, text: str, reached: Spread | None) -> Goal:
    return Goal(text, bound, at_least=True, reached=reached)


def _at_most(bound: float, text: str, reached: Spread | None) -> Goal:
    return Goal(text, bound, at_least=False, reached=reached)

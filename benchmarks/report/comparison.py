"""Ratios between contenders, taken round by round. Pure."""

from __future__ import annotations

from typing import Final

from benchmarks.entries import BASELINE, ENTRIES, OURS, SENDERS
from benchmarks.figures import Spread, fastest, ratios
from benchmarks.limits import LIMITS
from benchmarks.record import IMPORT, WEB, WEB_BEFORE, Record
from benchmarks.safety import VARIANTS
from benchmarks.web_process import BEFORE

TITLES: Final = {
    **{variant.name: variant.title for variant in VARIANTS},
    **{entry.name: entry.title for entry in (*ENTRIES, *SENDERS)},
    **{name: title for name, (title, _) in LIMITS.items()},
    IMPORT: "threadsync sessions import",
    WEB: "a web process that sends",
    WEB_BEFORE: f"the same at commit {BEFORE}",
}


def compare(
    record: Record, contender: str, figure: str, to: str = BASELINE.name, scene: str = "round"
) -> Spread | None:
    """Return a contender's figure as a ratio to another's, the baseline's by default; None without one."""
    return ratios(record.figures(scene, contender, figure), record.figures(scene, to, figure))


def compare_to_peers(record: Record, figure: str, scene: str = "round") -> Spread | None:
    """Return our figure as a ratio to that of the fastest other queue that keeps results."""
    peers = [record.figures(scene, entry.name, figure) for entry in ENTRIES if entry.is_peer]
    return ratios(record.figures(scene, OURS.name, figure), fastest(peers))


def absolute(record: Record, contender: str, figure: str, scene: str = "round") -> Spread | None:
    """Return a figure itself, which is this machine's."""
    numbers = record.figures(scene, contender, figure)
    return Spread.of(numbers.values()) if numbers else None


def latency_figures(record: Record) -> list[str]:
    """Return the names of all latencies, in the order of their measurement."""
    names = (name for run in record.runs for name in run.figures if name.startswith(("p50_", "p99_")))
    return list(dict.fromkeys(names))


def table_sizes(record: Record) -> list[int]:
    """Return the table sizes of the runs on tables, the smallest first."""
    return sorted(int(name.rpartition("-")[2]) for name in record.contenders("table"))


def time_on_table(record: Record, size: int, to: int) -> Spread | None:
    """Return the time of a command on a table of a size, as a ratio to that on a table of another size."""
    return compare(record, _on_table(to), "process_rate", _on_table(size), "table")


def scans(record: Record) -> Spread | None:
    """Return how often statements have read whole tables, over the runs on tables of all sizes."""
    found = [absolute(record, _on_table(size), "table_scans", "table") for size in table_sizes(record)]
    return Spread.of(spread.median for spread in found if spread) if any(found) else None


def _on_table(size: int) -> str:
    return f"{OURS.name}-{size}"

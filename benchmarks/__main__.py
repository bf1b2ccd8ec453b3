"""``python -m benchmarks``: run the benchmark, and write its results to docs/benchmarks/."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.bench import Bench
from benchmarks.entries import BASELINE, ENTRIES, OURS, Entry
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.record import Record
from benchmarks.report import write_report
from benchmarks.stage import Stage

_DOCS: Final = Path(__file__).parent.parent / "docs" / "benchmarks"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer, shorter runs: under two minutes.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often each contender runs.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this contender, besides ours and the baseline; repeatable.")
    ] = None,
    appendfsync: Annotated[
        Literal["everysec", "always", "no"], typer.Option(help="When Valkey's log is on disk.")
    ] = "everysec",
    out: Annotated[Path, typer.Option(help="Where the results go.")] = _DOCS,
) -> None:
    """Compare threadsync with other task queues."""
    plan = QUICK if quick else FULL
    if rounds:
        plan = replace(plan, rounds=rounds)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="threadsync-bench-", ignore_cleanup_errors=True) as folder:
        record = _run(console, plan, _chosen(plan, only), Path(folder), appendfsync)
    out.mkdir(parents=True, exist_ok=True)
    for path in write_report(record, out, plan.name):
        console.print(f"written: {path}", markup=False)


def _run(console: Console, plan: Plan, entries: Sequence[Entry], folder: Path, appendfsync: str) -> Record:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Stage(folder, appendfsync) as stage, Progress(*columns, console=console) as progress:
        task = progress.add_task("")
        bench = Bench(
            plan,
            entries,
            stage,
            folder,
            report=lambda what: progress.update(task, description=what),
            step=lambda: progress.advance(task),
        )
        progress.update(task, total=bench.steps)
        return bench.run()


def _chosen(plan: Plan, only: Sequence[str] | None) -> list[Entry]:
    known = {entry.name for entry in ENTRIES}
    if unknown := sorted(set(only or ()) - known):
        raise typer.BadParameter(f"no contender {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    wanted = {OURS.name, BASELINE.name, *only} if only else known
    return [entry for entry in ENTRIES if entry.name in wanted and (only or entry.quick or not plan.quick)]


if __name__ == "__main__":
    typer.run(main)

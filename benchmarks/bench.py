"""The whole benchmark: rounds in which every contender runs once, each time in another order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import bulk_import, limits, machine
from benchmarks.contest import Contest
from benchmarks.entries import OURS, Entry
from benchmarks.plan import Plan
from benchmarks.record import Record, Run
from benchmarks.remote import ContenderFailed
from benchmarks.stage import POSTGRES_SETTINGS, SESSIONS, Stage

T = TypeVar("T")
_TABLE_ROUNDS: Final = 3
_MUTATED_ROUNDS: Final = 2


class Bench:
    """Runner of ``plan`` in ``folder``, which calls ``report`` with news, and ``step`` after each run."""

    def __init__(
        self,
        plan: Plan,
        entries: Sequence[Entry],
        stage: Stage,
        folder: Path,
        report: Callable[[str], None],
        step: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._entries = [entry for entry in entries if entry.python.exists()]
        self._stage = stage
        self._folder = folder
        self._report = report
        self._step = step
        self._numbers = iter(range(1, 1_000_000))
        self.record = Record(
            made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            plan=asdict(plan),
            machine={"commit": machine.commit(), **machine.describe(folder), **stage.versions()},
            settings={"postgres": POSTGRES_SETTINGS, "valkey": stage.valkey_settings},
        )
        for entry in entries:
            if entry not in self._entries:
                self.record.skipped[entry.name] = "no environment: `make bench` builds it"
        self._imports = bulk_import.is_there()
        if not self._imports:
            self.record.skipped["import"] = "this version has no `threadsync sessions import`"

    @property
    def steps(self) -> int:
        """The number of runs."""
        plan = self._plan
        in_a_round = len(self._entries) + len(limits.LIMITS) + self._imports
        tables = len(plan.table_sizes) * _TABLE_ROUNDS
        mutated = _MUTATED_ROUNDS if plan.mutated else 0
        return plan.rounds * in_a_round + tables + mutated + (len(self._entries) if plan.big_backlog else 0)

    def run(self) -> Record:
        """Run everything, and return the record; a contender that fails spoils no other's run."""
        for number in range(self._plan.rounds):
            for entry in _rotated(self._entries, number):
                self._run_contender("round", number, entry, lambda contest: contest.run(self._plan))
            for name in _rotated(list(limits.LIMITS), number):
                self._run_limit(number, name)
            if self._imports:
                self._run_import(number)
        self._run_tables()
        for number in range(_MUTATED_ROUNDS if self._plan.mutated else 0):
            self._run_contender(
                "mutated", number, OURS, lambda contest: contest.run_among_mutants(self._plan)
            )
        if self._plan.big_backlog:
            for entry in self._entries:
                self._run_contender(
                    "backlog", 0, entry, lambda contest: contest.run_backlog(self._plan.big_backlog)
                )
        return self.record

    def _run_tables(self) -> None:
        """Run on tables of each size; half of the commands find their session there, half make a new one."""
        half = self._plan.commands // 2
        for number in range(_TABLE_ROUNDS):
            for size in _rotated(self._plan.table_sizes, number):
                self._run_contender(
                    "table", number, OURS, lambda contest: contest.run_backlog(half, half), sessions=size
                )

    def _run_contender(
        self, scene: str, number: int, entry: Entry, work: Callable[[Contest], None], sessions: int = SESSIONS
    ) -> None:
        name = f"{entry.name}-{sessions}" if scene == "table" else entry.name
        with self._measured(scene, number, name) as run:
            installation = self._stage.fresh(sessions)
            report = partial(self._report_run, f"{_where(scene, number)}{entry.title}")
            contest = Contest(entry, installation, self._run_folder(), report)
            try:
                work(contest)
            finally:
                run.figures, run.others = contest.figures, contest.others
            self.record.versions[entry.name] = contest.versions

    def _report_run(self, who: str, what: str) -> None:
        self._report(f"{who}: {what}")

    def _run_limit(self, number: int, name: str) -> None:
        title, measure = limits.LIMITS[name]
        self._report(f"{_where('round', number)}{title}")
        with self._measured("round", number, name) as run:
            installation = self._stage.fresh()
            neighbours = machine.Neighbours()
            # A single statement takes ten times as long, and need not be as many.
            count = self._plan.imported if name == limits.PIPELINED else self._plan.commands
            rate = measure(installation.database_url, installation.sessions, count)
            run.figures["process_rate"] = rate
            run.others = neighbours.share()

    def _run_import(self, number: int) -> None:
        self._report(f"{_where('round', number)}threadsync sessions import")
        with self._measured("round", number, "import") as run:
            installation = self._stage.fresh()
            folder = self._run_folder()
            neighbours = machine.Neighbours()
            run.figures["process_rate"] = bulk_import.import_rate(installation, folder, self._plan.imported)
            run.others = neighbours.share()

    def _run_folder(self) -> Path:
        return self._folder / "runs" / str(next(self._numbers))

    @contextlib.contextmanager
    def _measured(self, scene: str, number: int, contender: str) -> Iterator[Run]:
        run = Run(scene, number, contender)
        self.record.runs.append(run)
        try:
            yield run
        except ContenderFailed as exc:
            run.fault = self._without_paths(str(exc))
        self._step()

    def _without_paths(self, text: str) -> str:
        """Remove local paths from a text, as the record may be published."""
        for path in (self._folder, Path(__file__).parent.parent, Path.home()):
            text = text.replace(str(path), "…")
        return text


def _rotated(items: Sequence[T], by: int) -> list[T]:
    place = by % len(items) if items else 0
    return [*items[place:], *items[:place]]


def _where(scene: str, number: int) -> str:
    return f"round {number + 1}, " if scene == "round" else f"{scene}, "

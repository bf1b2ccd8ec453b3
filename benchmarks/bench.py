"""The whole benchmark: rounds, each in another order, then what runs once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import bulk_import, limits, machine, sending, web_process
from benchmarks.contest import Contest
from benchmarks.entries import BASELINE, OURS, SENDERS, Entry
from benchmarks.figures import rotated
from benchmarks.plan import Plan
from benchmarks.record import IMPORT, WEB, WEB_BEFORE, Record, Run
from benchmarks.remote import ContenderFailed
from benchmarks.safety import VARIANTS, Variant, staged
from benchmarks.stage import POSTGRES_SETTINGS, SESSIONS, Installation, Stage

_MUTATED_ROUNDS: Final = 2
_NOT_THERE: Final = "not there in this version"
_Job = Callable[[], None]


class Bench:
    """Runner of ``plan`` in ``folder``, which calls ``report`` with news, and ``step`` after each job."""

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
        self._stage = stage
        self._folder = folder
        self._report = report
        self._step = step
        self._numbers = iter(range(1, 1_000_000))
        self._web: tuple[web_process.Side, web_process.Side] | None = None
        self.record = Record(
            made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            plan=asdict(plan),
            machine={"commit": machine.commit(), **machine.describe(folder), **stage.versions()},
            settings={"postgres": POSTGRES_SETTINGS, "valkey": stage.valkey_settings},
        )
        self._entries = [entry for entry in entries if self._is_there(entry)]
        wanted = {BASELINE.environment, *(entry.environment for entry in self._entries)}
        self._senders = [sender for sender in SENDERS if sender.environment in wanted and self._sends(sender)]
        self._imports = bulk_import.is_there()
        if not self._imports:
            self.record.skipped[IMPORT] = _NOT_THERE
        self._jobs = [*self._rounds(), *self._tables(), *self._mutated(), *self._backlogs(), *self._safety()]

    @property
    def steps(self) -> int:
        """The number of jobs."""
        return len(self._jobs)

    def run(self) -> Record:
        """Run everything, and return the record; a contender that fails spoils no other's run."""
        began = time.monotonic()
        for job in self._jobs:
            job()
            self._step()
        self.record.machine["minutes_taken"] = round((time.monotonic() - began) / 60)
        return self.record

    def _is_there(self, entry: Entry) -> bool:
        if not entry.python.exists():
            self.record.skipped[entry.name] = "no environment: `make bench` builds it"
        return entry.python.exists()

    def _sends(self, sender: Entry) -> bool:
        if not sending.is_there(sender):
            self.record.skipped[sender.name] = _NOT_THERE
        return sending.is_there(sender)

    def _rounds(self) -> Iterator[_Job]:
        for number in range(self._plan.rounds):
            for entry in in_order(self._entries, number):
                yield partial(self._run_round, number, entry)
            for name in rotated(list(limits.LIMITS), number):
                yield partial(self._run_limit, number, name)
            if self._imports:
                yield partial(self._run_import, number)
            yield partial(self._run_sending, number)
            if self._plan.web_runs:
                yield partial(self._run_web, number)

    def _tables(self) -> Iterator[_Job]:
        """Run on tables of each size; half of the commands find their session there, half make a new one."""
        half = self._plan.commands * OURS.weight // 2
        for size in self._plan.table_sizes:
            name = f"{OURS.name}-{size}"
            yield partial(
                self._run_contender, "table", OURS, run_backlog(half, half), name=name, sessions=size
            )

    def _mutated(self) -> Iterator[_Job]:
        for number in range(_MUTATED_ROUNDS if self._plan.mutated else 0):
            yield partial(
                self._run_contender,
                "mutated",
                OURS,
                lambda contest: contest.run_among_mutants(self._plan),
                number=number,
            )

    def _backlogs(self) -> Iterator[_Job]:
        if self._plan.big_backlog:
            for entry in self._entries:
                yield partial(self._run_contender, "backlog", entry, run_backlog(self._plan.big_backlog))

    def _safety(self) -> Iterator[_Job]:
        if self._plan.safety:
            for variant in VARIANTS:
                yield partial(self._run_variant, variant)

    def _run_round(self, number: int, entry: Entry) -> None:
        half = self.record.figures("round", BASELINE.name, "half_rate").get(number)
        self._run_contender("round", entry, lambda contest: contest.run(self._plan, half), number=number)

    def _run_variant(self, variant: Variant) -> None:
        """Run a short round: what it costs is seen at one rate."""
        plan = replace(self._plan, rates=self._plan.rates[-1:], half_seconds=0)
        with staged(variant, self._stage, self._run_folder()) as installation:
            self._run_contender(
                "safety",
                variant.entry,
                lambda contest: contest.run(plan),
                name=variant.name,
                installation=installation,
            )

    def _run_contender(
        self,
        scene: str,
        entry: Entry,
        work: Callable[[Contest], None],
        *,
        number: int = 0,
        name: str | None = None,
        sessions: int = SESSIONS,
        installation: Installation | None = None,
    ) -> None:
        with self._measured(scene, number, name or entry.name) as run:
            report = partial(self._report_run, f"{_where(scene, number)}{entry.title}")
            place = installation or self._stage.fresh(sessions)
            contest = Contest(entry, place, self._run_folder(), report)
            try:
                work(contest)
            finally:
                run.figures, run.others = contest.figures, contest.others
            self.record.versions[entry.name] = contest.versions

    def _report_run(self, who: str, what: str) -> None:
        self._report(f"{who}: {what}")

    def _run_limit(self, number: int, name: str) -> None:
        title, work = limits.LIMITS[name]
        self._report(f"{_where('round', number)}{title}")
        # A single statement takes ten times as long, and need not be as many.
        count = self._plan.imported if name == limits.PIPELINED else self._plan.commands
        with self._measured("round", number, name) as run:
            installation = self._stage.fresh()
            with self._watched(run):
                run.figures = limits.measure(work, installation, count)

    def _run_import(self, number: int) -> None:
        self._report(f"{_where('round', number)}threadsync sessions import")
        with self._measured("round", number, IMPORT) as run:
            installation = self._stage.fresh()
            with self._watched(run):
                rate = bulk_import.import_rate(installation, self._run_folder(), self._plan.imported)
            run.figures["process_rate"] = rate

    def _run_sending(self, number: int) -> None:
        self._report(f"{_where('round', number)}clients send in turns")
        turns = sending.Turns(rotated(self._senders, number), self._stage.fresh(), self._run_folder())
        neighbours = machine.Neighbours()
        turns.run(self._plan.sent)
        for sender in self._senders:
            run = Run("sending", number, sender.name, others=neighbours.share())
            run.fault = (
                self._without_paths(turns.faults[sender.name]) if sender.name in turns.faults else None
            )
            run.figures = {} if run.fault else {"enqueue_rate": turns.rate(sender)}
            self.record.runs.append(run)

    def _run_web(self, number: int) -> None:
        if WEB in self.record.skipped:
            return
        self._report(f"{_where('round', number)}web processes that send")
        try:
            self._web = self._web or web_process.prepare_both(self._folder / "web")
        except web_process.ProcessFailed as exc:
            self.record.skipped[WEB] = self._without_paths(str(exc)).partition("\n")[0]
            return
        with self._measured("web", number, WEB_BEFORE) as before, self._measured("web", number, WEB) as run:
            broker_url = self._stage.fresh().broker_url
            with self._watched(before), self._watched(run):
                pairs = web_process.alternate(*self._web, self._plan.web_runs, broker_url)
            before.figures = web_process.medians(old for old, _ in pairs)
            run.figures = web_process.medians(new for _, new in pairs)

    def _run_folder(self) -> Path:
        return self._folder / "runs" / str(next(self._numbers))

    @contextlib.contextmanager
    def _measured(self, scene: str, number: int, contender: str) -> Iterator[Run]:
        run = Run(scene, number, contender)
        self.record.runs.append(run)
        try:
            yield run
        except (ContenderFailed, web_process.ProcessFailed) as exc:
            run.fault = self._without_paths(str(exc))

    @contextlib.contextmanager
    def _watched(self, run: Run) -> Iterator[None]:
        neighbours = machine.Neighbours()
        yield
        run.others = neighbours.share()

    def _without_paths(self, text: str) -> str:
        """Remove local paths from a text, as the record may be published."""
        for path in (self._folder, Path(__file__).parent.parent, Path.home()):
            text = text.replace(str(path), "…")
        return text


def in_order(entries: Sequence[Entry], number: int) -> list[Entry]:
    """Order a round: the baseline, whose rate others are sent at, then others, each first some time."""
    baseline = [entry for entry in entries if entry is BASELINE]
    return [*baseline, *rotated([entry for entry in entries if entry is not BASELINE], number)]


def run_backlog(commands: int, known: int = 0) -> Callable[[Contest], None]:
    """Return a run of a backlog alone."""
    return lambda contest: contest.run_backlog(commands, known)


def _where(scene: str, number: int) -> str:
    return f"round {number + 1}, " if scene == "round" else f"{scene}, "

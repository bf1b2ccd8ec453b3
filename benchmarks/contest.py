"""One run of one contender: fill the queue, empty it, send at fixed rates, count the effects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.arrivals import Arrivals, FinishedJobs, ResultKeys
from benchmarks.entries import BASELINE, Entry
from benchmarks.figures import percentile, rate
from benchmarks.machine import Neighbours
from benchmarks.mutated import mutants
from benchmarks.plan import Plan
from benchmarks.record import BASELINE_HALF, HALF
from benchmarks.remote import ContenderFailed, Remote
from benchmarks.stage import Installation

_PATIENCE_SECONDS: Final = 30
_ARRIVAL_SECONDS: Final = 15
_WARM_UP: Final = 50
_AMONG_MUTANTS: Final = 20
"""Rate of honest commands a second among mutants."""


class Contest:
    """A contender's run, which calls ``report`` with news. Raises ``ContenderFailed`` for missing work."""

    def __init__(
        self, entry: Entry, installation: Installation, folder: Path, report: Callable[[str], None]
    ) -> None:
        self._entry = entry
        self._installation = installation
        self._folder = folder
        self._report = report
        self._next = installation.sessions
        self._setup: dict[str, Any] = {}
        self._neighbours = Neighbours()
        self.figures: dict[str, float] = {}
        self.others = 0.0

    @property
    def versions(self) -> str:
        """The versions of the contender."""
        return str(self._setup["versions"])

    def run(self, plan: Plan, baseline_half: float | None = None) -> None:
        """Run a whole round: backlog, memory, latencies, results and effects.

        ``baseline_half``: half of what the baseline managed in this round, if that is known.
        """
        with self._remote() as remote:
            self._empty_backlog(remote, plan.commands * self._entry.weight)
            self._measure_memory(remote)
            for pace in plan.rates:
                self._measure_latency(remote, str(pace), pace, plan.seconds)
            if plan.half_seconds:
                self._measure_halves(remote, plan.half_seconds, baseline_half)
            if self._setup["results_database"] is not None:
                self._measure_round_trips(remote, plan.asked_seconds)
            # Before the end: the time of a killed process is counted nowhere.
            self.others = self._neighbours.share()
        self._check_effects()

    def run_backlog(self, commands: int, known: int = 0) -> None:
        """Run a backlog alone, with ``known`` more commands on existing sessions."""
        with self._remote() as remote:
            self._empty_backlog(remote, commands, known)
            self.others = self._neighbours.share()
        self._check_effects()

    def run_among_mutants(self, plan: Plan) -> None:
        """Send honest commands at a fixed rate, while mutated messages are fed as fast as they end."""
        with self._remote() as remote:
            self._setup = remote.ask("prepare")
            remote.ask("enqueue", first=self._take(_WARM_UP), count=_WARM_UP)
            remote.ask("start")
            self._drain(remote, _WARM_UP, 60)
            with mutants(self._installation.broker_url, plan.mutated):
                latencies = self._latencies(remote, _AMONG_MUTANTS, plan.seconds)
            self.figures["among_mutants_p99_seconds"] = (
                percentile([ended for ended, _ in latencies], 0.99) / 1000
            )
            self.others = self._neighbours.share()

    def _remote(self) -> Remote:
        return Remote(self._entry, self._installation.env, self._folder)

    def _empty_backlog(self, remote: Remote, commands: int, known: int = 0) -> None:
        self._report("enqueues")
        self._setup = remote.ask("prepare")
        # Connections are made with the first ones.
        remote.ask("enqueue", first=self._take(_WARM_UP), count=_WARM_UP)
        seconds = commands * 0.05 + 60
        taken = remote.ask("enqueue", seconds, first=self._take(commands), count=commands)
        self.figures["enqueue_rate"] = commands / taken
        if known:
            sessions = self._installation.sessions
            remote.ask("enqueue_known", seconds, sessions=sessions, count=known)
        self._report("processes")
        remote.ask("start")
        total = commands + known + _WARM_UP
        seen = self._drain(remote, total, seconds)
        self.figures["process_rate"] = rate(seen["samples"], total)
        cpu = {name: each * 1000 for name, each in seen["cpu_seconds_each"].items()}
        self.figures["cpu_seconds_per_1000"] = cpu["worker"]
        for server in self._installation.servers:
            self.figures[f"{server}_cpu_seconds_per_1000"] = cpu[server]

    def _drain(self, remote: Remote, total: int, seconds: float) -> Any:
        servers = dict(self._installation.servers)
        return remote.ask("drain", seconds, total=total, patience=_PATIENCE_SECONDS, servers=servers)

    def _measure_memory(self, remote: Remote) -> None:
        sizes = remote.ask("memory")
        self.figures["processes"] = len(sizes)
        self.figures["memory_mb"] = sum(sizes) / 1e6
        self.figures["memory_mb_each"] = sum(sizes) / 1e6 / len(sizes)

    def _measure_halves(self, remote: Remote, seconds: float, baseline_half: float | None) -> None:
        half = min(self.figures["enqueue_rate"], self.figures["process_rate"]) / 2
        self.figures["half_rate"] = half
        self._measure_latency(remote, HALF, half, seconds)
        if self._entry is BASELINE:
            self.figures |= {
                name.replace(HALF, BASELINE_HALF): value
                for name, value in self.figures.items()
                if name.endswith(f"_ms_at_{HALF}")
            }
        elif baseline_half:
            self._measure_latency(remote, BASELINE_HALF, baseline_half, seconds)

    def _measure_latency(self, remote: Remote, name: str, pace: float, seconds: float) -> None:
        latencies = self._latencies(remote, pace, seconds)
        self.figures[f"p50_ms_at_{name}"] = percentile([ended for ended, _ in latencies], 0.5)
        self.figures[f"p99_ms_at_{name}"] = percentile([ended for ended, _ in latencies], 0.99)
        # The client's part of the latency, as it shares two cores with all other processes.
        self.figures[f"sent_p50_ms_at_{name}"] = percentile([sent for _, sent in latencies], 0.5)

    def _latencies(self, remote: Remote, pace: float, seconds: float) -> list[tuple[float, float]]:
        """Return milliseconds from each command's due time to its result, and to the end of its sending."""
        self._report(f"at {pace:.0f}/s")
        count = max(int(pace * seconds), 1)
        with self._arrivals() as arrivals:
            sent = remote.ask("paced", seconds * 5 + 60, first=self._take(count), count=count, pace=1 / pace)
            arrived = arrivals.wait_for([key for key, _, _ in sent], _ARRIVAL_SECONDS)
        if len(arrived) < count:
            raise ContenderFailed(f"{count - len(arrived)} of {count} results did not arrive at {pace:.0f}/s")
        return [((arrived[key] - due) * 1000, (at - due) * 1000) for key, due, at in sent]

    def _arrivals(self) -> Arrivals:
        database = self._setup["results_database"]
        if database is None:
            return FinishedJobs(self._installation.database_url)
        return ResultKeys(self._installation.broker_url, database, self._setup["results_prefix"])

    def _measure_round_trips(self, remote: Remote, seconds: float) -> None:
        """Measure how long the contender's own client takes to send a command and to get its result."""
        self._report("waits for results")
        asked = remote.ask("round_trips", seconds + 60, first=self._next, lasting=seconds)
        self._take(len(asked["seconds"]))
        self.figures["own_get_p50_ms"] = percentile(asked["seconds"], 0.5) * 1000
        if self._entry.writes and asked["result"].get("outcome") != "created":
            raise ContenderFailed(f"the last result is {asked['result']!r}")

    def _check_effects(self) -> None:
        if not self._entry.writes:
            return
        self.figures["table_scans"] = self._installation.table_scans()
        made, wanted = self._installation.count_sessions(), self._next - self._installation.sessions
        if made != wanted:
            raise ContenderFailed(f"{made} of {wanted} sessions are there")

    def _take(self, count: int) -> int:
        """Reserve so many threads without a session; return the number of the first one."""
        first, self._next = self._next, self._next + count
        return first

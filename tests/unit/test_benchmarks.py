"""Computations and parts of a benchmark. Nothing is timed here: a test machine's numbers say nothing."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import process_tree
from benchmarks.bench import in_order
from benchmarks.contender import SETTINGS, Contender
from benchmarks.entries import BASELINE, ENTRIES, SENDERS
from benchmarks.figures import Spread, fastest, percentile, rate, ratios
from benchmarks.plan import FULL, QUICK
from benchmarks.side import Side, serve
from benchmarks.stage import SESSIONS
from benchmarks.threads import SlackThread, known_threads, threads
from benchmarks.web_process import MEASURES, compare, medians
from benchmarks.worker_settings import settings_text
from supply.locks import LOCKS, locks, pins
from tests.support.documents import ROOT
from tests.support.waiting import wait_until
from threadsync.commands import GetOrCreate
from threadsync.config import load_settings
from worker.celery import configuration
from worker.db.sessions.statements import statement_of

PEERS = {lock.name: lock for lock in locks() if lock.name.startswith("bench-")}
numbers = st.lists(st.floats(0.001, 1e6), min_size=1)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (1, 100), (0, 1), (0.985, 99), (0.01, 1)]
)
def test_a_percentile_is_one_of_the_numbers(share: float, expected: int) -> None:
    """A percentile is the smallest number that is not below the share, never a value between two."""
    assert percentile(range(100, 0, -1), share) == expected


@given(numbers, st.floats(0, 1))
def test_enough_numbers_are_not_above_a_percentile(values: list[float], share: float) -> None:
    """Enough numbers are at or below their percentile, whatever the numbers are."""
    limit = percentile(values, share)
    assert sum(value <= limit for value in values) >= share * len(values) - 1e-6
    assert limit in values


@given(numbers)
def test_a_spread_holds_its_median(values: list[float]) -> None:
    """The median lies between the ends of a spread."""
    spread = Spread.of(values)
    assert spread.low <= spread.median <= spread.high


def test_a_rate_leaves_the_start_out() -> None:
    """The rate is counted from the first sample with work, so the worker's start is left out."""
    assert rate([(0.0, 0), (2.0, 10), (2.5, 55), (3.0, 100)], 100) == 90


def test_a_rate_ends_with_the_last_command() -> None:
    """The rate lasts to the last command, so a contender that delays one for a second pays for it."""
    assert rate([(0.0, 10), (1.0, 99), (2.0, 100)], 100) == 45


def test_ratios_are_taken_within_a_round() -> None:
    """Ratios compare runs of the same round, and a round without a baseline has none."""
    assert ratios({0: 400, 1: 200, 2: 999}, {0: 100, 1: 50}) == Spread(4, 4, 4)
    assert ratios({0: 1.0}, {1: 1.0}) is None


def test_the_fastest_of_each_round() -> None:
    """The highest rate is taken round by round; a round that one of them lacks has the others'."""
    assert fastest([{0: 1, 1: 5}, {0: 3}, {2: 4}]) == {0: 3, 1: 5, 2: 4}
    assert fastest([]) == {}


@given(st.integers(0, 20))
def test_each_round_begins_with_another_contender(number: int) -> None:
    """A round begins with the baseline, whose rate is given to all; then with another contender each time."""
    ordered = in_order(ENTRIES, number)
    assert ordered[0] is BASELINE
    assert set(ordered) == set(ENTRIES)
    assert len(ordered) == len(ENTRIES)
    assert ordered[1] is [entry for entry in ENTRIES if entry is not BASELINE][number % (len(ENTRIES) - 1)]


def test_stock_celery_has_our_settings_without_our_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline's settings are our worker's, as plain data; only what names our code is left out."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    text = settings_text("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1")
    ours = configuration(
        load_settings(
            celery_broker_url="redis://127.0.0.1:1/0", celery_result_backend="redis://127.0.0.1:1/1"
        )
    )
    settings = ast.literal_eval(text)
    assert settings == {name: ours[name] for name in settings}
    left_out = {"include", "task_queues", "beat_scheduler", "worker_consumer", "worker_pool"}
    assert set(ours) - set(settings) == left_out


def test_the_baseline_loads_nothing_of_our_worker() -> None:
    """The baseline's worker has Celery in memory, and no part of ours that Celery does not have."""
    probe = "import benchmarks.contenders.celery_noop, sys; print(*sys.modules)"
    env = {"CELERY_BROKER_URL": "redis://", "CELERY_RESULT_BACKEND": "redis://", SETTINGS: "{}"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "celery" in loaded
    ours = {name for name in loaded if name.startswith(("threadsync", "tasks", "worker."))}
    assert ours <= {"worker.local", "worker.local.child"}
    assert not loaded & {"psycopg", "pydantic", "structlog"}


def test_medians_of_web_processes() -> None:
    """A round's figures of web processes are the medians of its runs."""
    runs = [dict.fromkeys(MEASURES, value) for value in (3.0, 1.0, 2.0)]
    assert medians(runs) == dict.fromkeys(MEASURES, 2.0)
    ((name, before, after, ratio), *_) = compare([(old, new) for old, new in zip(runs, runs, strict=True)])
    assert (name, before, after, ratio) == (
        MEASURES[0],
        Spread(2, 1, 3),
        Spread(2, 1, 3),
        Spread(1, 1, 1),
    )


def test_threads_are_valid_and_new() -> None:
    """Every made thread is valid for our command, and no two of a run are the same session."""
    made = threads(SESSIONS, 500)
    for thread in made:
        assert statement_of(GetOrCreate(**thread._asdict())).params == thread.parameters()
    assert len(set(made)) == 500
    assert not set(made) & set(threads(0, SESSIONS))


@pytest.mark.parametrize("sessions", [1_000, 1_000_000])
def test_known_threads_are_spread_over_the_table(sessions: int) -> None:
    """Known threads are as many on a small table as on a large one, and all of them exist."""
    known = known_threads(sessions, 2_500)
    assert len(known) == 2_500
    last = max(int(thread.thread_ts.partition(".")[0]) for thread in known) - 1_700_000_000
    assert sessions * 0.9 < last < sessions


def test_the_family_of_a_process() -> None:
    """A process and those that its children started are measured together."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        wait_until(
            lambda: [size > 1_000_000 for size in process_tree.memory(process.pid)] == [True, True],
            "the grandchild has its memory",
        )
        assert 0 <= process_tree.cpu_seconds(process.pid) < process_tree.cpu_seconds(os.getpid())
        process.communicate(b"\n")
    assert process_tree.memory(process.pid) == []


def test_families_are_seen_in_one_look() -> None:
    """The CPU time of several families of processes is told apart."""
    seconds = process_tree.cpu_of({"ours": [os.getpid()], "nobody's": []})
    assert seconds["ours"] > 0
    assert seconds["nobody's"] == 0


def test_every_contender_has_a_file_and_what_it_needs() -> None:
    """Every contender has a file of its own, and every peer has its locked requirements."""
    for entry in {*ENTRIES, *SENDERS}:
        module, _, name = entry.target.partition(":")
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert f"class {name}(" in source
        if entry.environment:
            assert f"bench-{entry.environment}" in PEERS
            assert entry.environment in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_peers_run_on_the_driver_that_we_run_on() -> None:
    """Every peer runs on the version of psycopg that we run on."""
    ours = {pin for pin in pins((LOCKS / "worker.txt").read_text(encoding="utf-8")) if "psycopg" in pin.name}
    assert len(ours) == 3
    for lock in PEERS.values():
        theirs = {(pin.name, pin.version) for pin in pins(lock.path.read_text(encoding="utf-8"))}
        assert {(pin.name, pin.version) for pin in ours} <= theirs, f"{lock.name}: make lock UPGRADE=psycopg"


_REFUSED = threads(9, 1)[0].thread_ts


class Pretender(Contender):
    """A contender without a queue, whose commands are done once it was asked often enough."""

    distribution = "pytest"
    looks = 0

    def commands(self) -> list[list[str]]:
        return []

    def send(self, threads: Any, pace: float | None = None) -> list[Any]:
        return []

    def done(self) -> int:
        self.looks += 50
        return self.looks

    def ask(self, thread: SlackThread) -> dict[str, str]:
        if thread.thread_ts == _REFUSED:
            raise ValueError("nothing was sent")
        return {"outcome": thread.thread_ts}


def ask(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the replies of a contender's process."""
    answers = io.StringIO()
    lines = io.StringIO("".join(json.dumps(request) + "\n" for request in requests))
    serve(Side(Pretender(Path())), lines, answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_contender_is_asked_line_by_line() -> None:
    """A contender's process gives one reply to each request."""
    prepared, enqueued, _, drained = ask(
        {"do": "prepare"},
        {"do": "enqueue", "first": 0, "count": 10},
        {"do": "start"},
        {"do": "drain", "total": 100, "patience": 5, "servers": {"postgres": os.getpid()}},
    )
    assert prepared["answer"]["results_database"] == 1
    assert enqueued["answer"] >= 0
    assert [done for _, done in drained["answer"]["samples"]] == [50, 100]
    cpu = drained["answer"]["cpu_seconds_each"]
    assert cpu["worker"] == 0
    assert cpu["postgres"] >= 0


def test_a_client_waits_for_one_result_after_the_other() -> None:
    """Round trips go on for the time given, at least once, each with a thread of its own."""
    once, more = ask(
        {"do": "round_trips", "first": 0, "lasting": 0}, {"do": "round_trips", "first": 10, "lasting": 0.01}
    )
    assert len(once["answer"]["seconds"]) == 1
    taken = more["answer"]["seconds"]
    assert len(taken) > 1
    assert more["answer"]["result"] == {"outcome": threads(10 + len(taken) - 1, 1)[0].thread_ts}


def test_a_contender_that_fails_says_so_and_goes_on() -> None:
    """A contender that fails reports its library's error, and goes on."""
    failed, memory = ask({"do": "round_trips", "first": 9, "lasting": 0}, {"do": "memory"})
    assert failed == {"fault": "ValueError: nothing was sent"}
    assert memory == {"answer": []}


def test_the_quick_plan_leaves_the_long_work_out() -> None:
    """The quick plan leaves out what takes minutes, and the full plan has it."""
    assert not QUICK.big_backlog
    assert not QUICK.table_sizes
    assert not QUICK.web_runs
    assert not QUICK.safety
    assert FULL.safety
    assert FULL.web_runs
    assert FULL.rounds == 5
    assert FULL.big_backlog == 100_000
    assert FULL.table_sizes == (1_000, 100_000, 1_000_000)

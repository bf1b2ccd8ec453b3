"""Computations and reports of a benchmark. Nothing is timed here: a test machine's numbers say nothing."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import process_tree
from benchmarks.contender import SETTINGS, Contender
from benchmarks.entries import BASELINE, ENTRIES, OURS
from benchmarks.figures import Spread, percentile, rate, ratios
from benchmarks.plan import FULL, QUICK
from benchmarks.record import Record, Run, read
from benchmarks.report import write_report
from benchmarks.report.chart import Bar, bar_chart
from benchmarks.report.comparison import TITLES, goals, time_on_table, to_baseline
from benchmarks.report.page import page, ratio_text, table
from benchmarks.side import Side, serve
from benchmarks.stage import SESSIONS
from benchmarks.threads import known_threads, threads
from benchmarks.worker_settings import settings_text
from supply.locks import LOCKS, locks, pins
from tests.support.documents import ROOT
from tests.support.waiting import wait_until
from threadsync.commands import GetOrCreate
from threadsync.config import load_settings
from worker.celery import configuration
from worker.db.sessions.statements import statement_of

SVG = "{http://www.w3.org/2000/svg}"
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


def test_every_contender_has_a_file_and_what_it_needs() -> None:
    """Every contender has a file of its own, and every peer has its locked requirements."""
    for entry in ENTRIES:
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

    def last_result(self) -> None:
        raise ValueError("nothing was sent")


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
        {"do": "drain", "total": 100, "patience": 5},
    )
    assert prepared["answer"]["results_database"] == 1
    assert enqueued["answer"] >= 0
    assert [done for _, done in drained["answer"]["samples"]] == [50, 100]


def test_a_contender_that_fails_says_so_and_goes_on() -> None:
    """A contender that fails reports its library's error, and goes on."""
    failed, memory = ask({"do": "last_result"}, {"do": "memory"})
    assert failed == {"fault": "ValueError: nothing was sent"}
    assert memory == {"answer": []}


def record(*runs: Run) -> Record:
    """Make a record of two rounds: ours at four times the baseline, and huey with lost work once."""
    rounds = [
        run
        for number, speed in enumerate((100.0, 50.0))
        for run in (
            Run("round", number, OURS.name, figures(4 * speed, 5.2), others=0.01),
            Run("round", number, BASELINE.name, figures(speed, 4.0), others=0.02),
            Run("round", number, "psycopg-pipelined", {"process_rate": 30 * speed}),
        )
    ]
    lost = Run("round", 0, "huey", figures(9_999, 0.1), fault="9 of 10 sessions are there\nat /somewhere")
    kept = Run("round", 1, "huey", figures(100, 2.0))
    return Record(
        made_at="2026-01-02 03:04 UTC",
        plan=asdict(QUICK),
        machine={"cores": 2},
        settings={"valkey": {"appendfsync": "everysec"}},
        versions={OURS.name: "threadsync 0.1.0"},
        skipped={"import": "not there"},
        runs=[*rounds, lost, kept, *runs],
    )


def figures(speed: float, latency: float) -> dict[str, float]:
    return {
        "enqueue_rate": speed,
        "process_rate": speed,
        "cpu_seconds_per_1000": 1 / speed,
        "p50_ms_at_100": latency,
        "p99_ms_at_100": latency * 2,
    }


def test_lost_work_is_not_fast() -> None:
    """A run with a fault has no part in any ratio, and the page says what was wrong."""
    assert to_baseline(record(), "huey", "process_rate") == Spread(2, 2, 2)
    text = page(record(), [])
    assert "| huey (**1 invalid**, see below) | 2.00 |" in text
    assert "| huey | round | 1 | 9 of 10 sessions are there at /somewhere |" in text


def test_the_goals() -> None:
    """A goal is met at its bound and missed beyond it; without a measurement it is neither."""
    assert [goal.is_met for goal in goals(record())] == [True, True, True, True, None]
    too_slow = [
        Run("round", number, name, figures(100, latency))
        for number in (2, 3, 4)
        for name, latency in ((OURS.name, 5.3), (BASELINE.name, 4.0))
    ]
    assert [goal.is_met for goal in goals(record(*too_slow))] == [False, True, False, False, None]


def test_the_time_on_a_large_table() -> None:
    """A lower rate on a large table is shown as a longer time."""
    runs = [
        Run("table", number, f"{OURS.name}-{size}", {"process_rate": speed})
        for number in range(2)
        for size, speed in ((1_000, 220.0), (1_000_000, 200.0))
    ]
    made = record(*runs)
    assert time_on_table(made, 1_000_000) == Spread(1.1, 1.1, 1.1)
    (goal,) = [goal for goal in goals(made) if "sessions" in goal.text]
    assert goal.text == "time with 1,000,000 sessions, to that with 1,000"
    assert goal.is_met


def test_honest_commands_beside_mutated_ones() -> None:
    """The goal for honest commands beside mutated ones is in seconds."""
    runs = [
        Run("mutated", number, OURS.name, {"among_mutants_p99_seconds": p99})
        for number, p99 in enumerate((0.5, 1.5))
    ]
    (goal,) = [goal for goal in goals(record(*runs)) if "mutated" in goal.text]
    assert (goal.bound, goal.is_met, goal.reached) == (2, True, Spread(1.0, 0.5, 1.5))


def test_the_page_says_where_numbers_come_from() -> None:
    """The page names machine, settings, versions and omissions, and says if the machine was not quiet."""
    text = page(record(), ["quick-processing.svg"])
    for line in ("| cores | 2 |", "`appendfsync = everysec`", "threadsync 0.1.0", "left out: not there"):
        assert line in text
    assert "not quiet" not in text
    assert "![quick, processing](quick-processing.svg)" in text
    noisy = [Run("backlog", 0, OURS.name, others=0.5) for _ in range(20)]
    assert "**The machine was not quiet.** Other processes took 50%" in page(record(*noisy), [])


def test_a_ratio_for_people() -> None:
    """A ratio is written with its ends, unless they are equal."""
    assert ratio_text(Spread(3.314, 3.1, 12.34)) == "3.31 (3.10 to 12.3)"
    assert ratio_text(Spread(2, 2, 2)) == "2.00"
    assert ratio_text(None) == "-"


def test_a_table_in_markdown() -> None:
    """A bar in a cell does not end the cell."""
    assert table(("a", "b"), [("1|2", "3")]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |"


def test_a_chart_is_a_picture_for_light_and_dark_pages() -> None:
    """A chart is named for screen readers, has bars to scale and whiskers, and adapts to dark pages."""
    bars = [Bar("ours & <others>", Spread(4, 3, 5), "ours"), Bar("baseline", Spread(1, 1, 1), "baseline")]
    root = ElementTree.fromstring(bar_chart("Speed", "more is better", bars))
    assert root.get("aria-label") == "Speed"
    ours, baseline = root.findall(f"{SVG}rect")
    assert float(ours.get("width", 0)) == pytest.approx(4 * float(baseline.get("width", 0)), rel=0.01)
    assert len(root.findall(f"{SVG}path[@class='whisker']")) == 2
    assert "ours & <others>" in [text.text for text in root.iter(f"{SVG}text")]
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")


@given(st.lists(st.floats(0.001, 5000), min_size=1, max_size=12))
def test_no_bar_leaves_the_picture(values: list[float]) -> None:
    """Every bar stays within the picture, whatever was measured."""
    bars = [Bar("x", Spread(value, value * 0.9, value * 1.1)) for value in values]
    root = ElementTree.fromstring(bar_chart("t", "n", bars))
    width, height = map(float, root.get("viewBox", "").split()[2:])
    for rect in root.findall(f"{SVG}rect"):
        assert float(rect.get("width", 0)) >= 0
        assert float(rect.get("x", 0)) + float(rect.get("width", 0)) <= width
        assert float(rect.get("y", 0)) + float(rect.get("height", 0)) <= height


def test_a_report_is_written_and_read_back(tmp_path: Path) -> None:
    """A report is written as raw numbers, page and pictures, and read back; every contender has a title."""
    written = write_report(record(), tmp_path, "quick")
    assert [path.name for path in written] == [
        "quick.json",
        "quick.md",
        "quick-processing.svg",
        "quick-latency.svg",
    ]
    assert read(tmp_path / "quick.json").runs == record().runs
    assert {run.contender for run in record().runs} <= set(TITLES)


def test_the_quick_plan_leaves_the_long_work_out() -> None:
    """The quick plan leaves the large backlog and tables out, and the full plan has them."""
    assert not QUICK.big_backlog
    assert not QUICK.table_sizes
    assert FULL.big_backlog == 100_000
    assert FULL.table_sizes == (1_000, 100_000, 1_000_000)

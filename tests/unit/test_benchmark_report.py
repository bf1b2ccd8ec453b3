"""Reports of a benchmark: ratios, goals, page and pictures of what was measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.entries import BASELINE, OURS, OURS_AT_ONCE, OURS_IN_ONE_CALL
from benchmarks.figures import Spread
from benchmarks.limits import PIPELINED, SINGLE
from benchmarks.plan import QUICK
from benchmarks.record import IMPORT, WEB, WEB_BEFORE, Record, Run, read
from benchmarks.report import write_report
from benchmarks.report.chart import Bar, bar_chart
from benchmarks.report.comparison import TITLES, compare, compare_to_peers, scans, time_on_table
from benchmarks.report.goals import Goal, goals
from benchmarks.report.page import page, ratio_text, table
from benchmarks.safety import VARIANTS

SVG = "{http://www.w3.org/2000/svg}"


def record(*runs: Run) -> Record:
    """Make a record of two rounds: ours at twenty times the baseline, and huey with lost work once."""
    rounds = [
        run
        for number, speed in enumerate((100.0, 50.0))
        for run in (
            Run("round", number, BASELINE.name, figures(speed, 4.0), others=0.02),
            Run("round", number, OURS.name, figures(20 * speed, 3.2), others=0.01),
            Run("round", number, PIPELINED, {"process_rate": 20 * speed}),
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
        skipped={IMPORT: "not there"},
        runs=[*rounds, lost, kept, *runs],
    )


def figures(speed: float, latency: float) -> dict[str, float]:
    """Return figures of a run with a speed and a latency in milliseconds."""
    return {
        "process_rate": speed,
        "cpu_seconds_per_1000": 1 / speed,
        "memory_mb": 100,
        "p50_ms_at_100": latency,
        "p99_ms_at_100": latency * 1.25,
        "p50_ms_at_half": latency,
        "p50_ms_at_baseline_half": latency * 1.25,
        "own_get_p50_ms": latency,
    }


def reached(made: Record, words: str) -> Goal:
    """Return the one goal whose text holds some words."""
    (goal,) = [goal for goal in goals(made) if words in goal.text]
    return goal


def test_lost_work_is_not_fast() -> None:
    """A run with a fault has no part in any ratio, and the page says what was wrong."""
    assert compare(record(), "huey", "process_rate") == Spread(2, 2, 2)
    text = page(record(), [])
    assert "| huey (**1 invalid**, see below) | 2.00 |" in text
    assert "| huey | round | 1 | 9 of 10 sessions are there at /somewhere |" in text


def test_the_fastest_peer_of_each_round() -> None:
    """The fastest other queue is another one in each round, and Procrastinate, without results, is none."""
    runs = [
        Run("sending", number, name, {"enqueue_rate": rate})
        for number, rates in enumerate(
            (
                {OURS.name: 300, "huey": 150, "dramatiq": 100, "procrastinate": 900},
                {OURS.name: 300, "huey": 100, "dramatiq": 300},
            )
        )
        for name, rate in rates.items()
    ]
    assert compare_to_peers(record(*runs), "enqueue_rate", "sending") == Spread(1.5, 1, 2)


def test_the_goals() -> None:
    """The goals are those of the issue, in its order, each with its bound."""
    assert [(goal.at_least, goal.bound) for goal in goals(record())] == [
        (True, 18),  # process, to the no-op
        (True, 6),  # process, to the fastest other queue
        (True, 0.85),  # process, to psycopg's pipeline
        (False, 0.03),  # worker's CPU
        (True, 2.6),  # single send, to stock
        (True, 1),  # single send, to the fastest other queue
        (True, 4.5),  # 16 asyncio sends at once
        (True, 15),  # send_many
        (False, 0.8),  # p50 at 100/s
        (False, 1),  # p99 at 100/s
        (False, 1),  # p50 at half of the no-op's saturation
        (False, 0.9),  # own get()
        (False, 1.05),  # worker's memory
        (False, 0.85),  # private memory of a web process
        (False, 0.65),  # its import time
        (True, 1.5),  # bulk import
        (False, 1.1),  # a million sessions
        (False, 0),  # and no scan
    ]


def test_a_goal_is_met_or_missed_or_not_measured() -> None:
    """A goal is met at its bound and missed beyond it; without a measurement it is neither."""
    made = record()
    assert reached(made, "process, to a Celery").is_met is True
    assert reached(made, "process, to psycopg's").is_met is True
    assert reached(made, "p50 at 100/s") == Goal(
        "p50 at 100/s, to a Celery task that does nothing", 0.8, at_least=False, reached=Spread(0.8, 0.8, 0.8)
    )
    assert reached(made, "`send_many`").is_met is None
    slow = [
        Run("round", number, name, figures(100, latency))
        for number in (2, 3, 4)
        for name, latency in ((OURS.name, 5.3), (BASELINE.name, 4.0))
    ]
    assert reached(record(*slow), "process, to a Celery").is_met is False
    assert reached(record(*slow), "p50 at 100/s").is_met is False


def test_sends_are_compared_with_stock_celery() -> None:
    """Each way of sending is compared with stock Celery's in the same turns."""
    rates = {BASELINE.name: 1_000, OURS.name: 3_000, OURS_AT_ONCE.name: 5_000, OURS_IN_ONE_CALL.name: 14_000}
    made = record(*(Run("sending", 0, name, {"enqueue_rate": rate}) for name, rate in rates.items()))
    measured = [reached(made, words) for words in ("single send, to stock", "16 asyncio", "`send_many`")]
    assert [goal.reached and goal.reached.median for goal in measured] == [3, 5, 14]
    assert [goal.is_met for goal in measured] == [True, True, False]
    assert "| threadsync, 16 asyncio sends at once | 5.00 |" in page(made, [])


def test_web_processes_of_now_and_before() -> None:
    """A web process is compared with that of the earlier commit in the same round."""
    measures = {"import_cpu_ms": 100.0, "modules": 500}
    runs = [
        Run("web", 0, WEB_BEFORE, {**measures, "import_ms": 400, "private_mb": 40}),
        Run("web", 0, WEB, {**measures, "import_ms": 240, "private_mb": 36}),
    ]
    made = record(*runs)
    assert reached(made, "import time").is_met is True
    assert reached(made, "private memory").is_met is False
    assert "| 0.60 | 1.00 | 0.90 | 1.00 |" in page(made, [])


def test_the_time_on_a_large_table() -> None:
    """A lower rate on a large table is shown as a longer time, and scans of all tables count."""
    runs = [
        Run("table", 0, f"{OURS.name}-{size}", {"process_rate": speed, "table_scans": scanned})
        for size, speed, scanned in ((1_000, 220.0, 1), (1_000_000, 200.0, 0))
    ]
    made = record(*runs)
    assert time_on_table(made, 1_000_000, 1_000) == Spread(1.1, 1.1, 1.1)
    goal = reached(made, "1,000,000 sessions")
    assert goal.text == "time with 1,000,000 sessions, to that with 1,000"
    assert goal.is_met
    assert scans(made) == Spread(0.5, 0, 1)
    assert not reached(made, "scan").is_met
    assert scans(record()) is None


def test_honest_commands_beside_mutated_ones() -> None:
    """The goal for honest commands beside mutated ones is in seconds."""
    runs = [
        Run("mutated", number, OURS.name, {"among_mutants_p99_seconds": p99})
        for number, p99 in enumerate((0.5, 1.5))
    ]
    goal = reached(record(*runs), "mutated")
    assert (goal.bound, goal.is_met, goal.reached) == (2, True, Spread(1.0, 0.5, 1.5))


def test_the_servers_work_is_shown() -> None:
    """Valkey's CPU is compared with the baseline's, Postgres' with that of single statements."""
    cpu = {"valkey_cpu_seconds_per_1000": 0.2, "postgres_cpu_seconds_per_1000": 0.1}
    runs = [
        Run("round", 2, BASELINE.name, {**figures(100, 4), "valkey_cpu_seconds_per_1000": 0.8}),
        Run("round", 2, OURS.name, {**figures(100, 4), **cpu}),
        Run("round", 2, SINGLE, {"process_rate": 500, "postgres_cpu_seconds_per_1000": 0.4}),
    ]
    assert "| threadsync | 0.25 | 0.25 |" in page(record(*runs), [])


def test_settings_that_lose_less_are_compared_with_those_that_do_not() -> None:
    """Each variant is compared with its own contender without it; all have names and titles of their own."""
    assert len({variant.name for variant in VARIANTS}) == len({variant.title for variant in VARIANTS}) == 6
    runs = [Run("safety", 0, variant.name, figures(50 if variant.always else 100, 4)) for variant in VARIANTS]
    text = page(record(*runs), [])
    assert "| threadsync, `appendfsync always` | - | 0.50 | - | 1.00 | 1.00 |" in text
    assert "| threadsync, a replica, `BROKER_WAIT_REPLICAS=1` | - | 1.00 |" in text


def test_latency_at_the_rates_of_a_round() -> None:
    """The page names the rates at which latency is measured, and the clients' own waiting."""
    text = page(record(), [])
    for head in (
        "p99 at 100/s",
        "p50 at half of its own saturation",
        "p50 at half of that task's saturation",
    ):
        assert head in text
    assert "own `get()`, p50" in text


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
    assert {run.contender for run in record().runs} | {WEB, WEB_BEFORE, IMPORT} <= set(TITLES)

"""Page of a benchmark: tables of ratios, the goals, and the origin of the numbers. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from benchmarks.entries import BASELINE, ENTRIES
from benchmarks.figures import Spread
from benchmarks.limits import LIMITS, SINGLE
from benchmarks.record import BASELINE_HALF, IMPORT, WEB, WEB_BEFORE, Record
from benchmarks.report.comparison import (
    TITLES,
    absolute,
    compare,
    latency_figures,
    table_sizes,
    time_on_table,
)
from benchmarks.report.goals import goals
from benchmarks.safety import VARIANTS

_QUIET: Final = 0.05
"""Largest median share of the machine's time for others that the page does not mention."""

_Columns = Sequence[tuple[str, str]]

_WORK: Final = (
    ("process_rate", "process, more is better"),
    ("cpu_seconds_per_1000", "worker's CPU a command, less is better"),
    ("memory_mb", "memory, less is better"),
    ("memory_mb_each", "memory a process, less is better"),
)
_BACKLOG: Final = (("enqueue_rate", "enqueue, more is better"), *_WORK[:2])
_VALKEY_CPU: Final = "valkey_cpu_seconds_per_1000"
_POSTGRES_CPU: Final = "postgres_cpu_seconds_per_1000"
_SAFETY: Final = (
    ("enqueue_rate", "enqueue, more is better"),
    ("process_rate", "process, more is better"),
    ("sent_p50_ms_at_100", "sent, p50 at 100/s, less is better"),
    ("p50_ms_at_100", "result, p50 at 100/s, less is better"),
    ("p99_ms_at_100", "result, p99 at 100/s, less is better"),
)
_WEB: Final = (
    ("import_ms", "import time"),
    ("import_cpu_ms", "CPU time of the import"),
    ("private_mb", "private memory after the first send"),
    ("modules", "modules"),
)
_ABSOLUTE: Final = (
    ("enqueue_rate", "enqueue /s", "{:,.0f}"),
    ("process_rate", "process /s", "{:,.0f}"),
    ("cpu_seconds_per_1000", "worker's CPU s per 1,000", "{:.3f}"),
    (_POSTGRES_CPU, "Postgres' CPU s per 1,000", "{:.3f}"),
    (_VALKEY_CPU, "Valkey's CPU s per 1,000", "{:.3f}"),
    ("memory_mb", "memory MB", "{:.0f}"),
    ("processes", "processes", "{:.0f}"),
    ("p50_ms_at_100", "p50 ms at 100/s", "{:.1f}"),
    ("p99_ms_at_100", "p99 ms at 100/s", "{:.1f}"),
    ("half_rate", "half of saturation /s", "{:,.0f}"),
    ("p50_ms_at_half", "p50 ms at half", "{:.1f}"),
    ("own_get_p50_ms", "own get() p50 ms", "{:.1f}"),
)


def page(record: Record, pictures: Sequence[str]) -> str:
    """Write the page in Markdown."""
    parts = [
        "# threadsync beside other task queues",
        _introduction(record),
        *(f"![{picture.removesuffix('.svg').replace('-', ', ')}]({picture})" for picture in pictures),
        "## Goals",
        *_goals(record),
        "## Work",
        *_ratios(record, "round", _WORK),
        *_server_section(record),
        *_sending_section(record),
        "## Latency",
        "From the moment a command was due to be sent until its result is there; less is better. The last "
        "column is from a client's call until its own `get()` returns, one command after the other.",
        *_ratios(record, "round", _latencies(record)),
        *_web_section(record),
        *_backlog(record),
        *_table_section(record),
        *_safety_section(record),
        "## Without a queue",
        *_limits(record),
        "## In this machine's numbers",
        "Medians. They say little elsewhere; the ratios say more.",
        *_absolute(record),
        *_faults(record),
        "## Where this was measured",
        *_origin(record),
    ]
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown, with bars in cells escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def ratio_text(spread: Spread | None) -> str:
    """Format a spread: the median, and both ends if they differ, as ``3.31 (3.10 to 3.52)``."""
    if spread is None:
        return "-"
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _introduction(record: Record) -> str:
    rounds = record.plan["rounds"]
    return (
        f"Written by `python -m benchmarks` on {record.made_at}. How, and what it does not say: "
        "`benchmarks/README.md`.\n\n"
        f"Numbers are ratios to *{BASELINE.title}*, measured in the same round: the median of {rounds} "
        "rounds, and in brackets the lowest and the highest. That task runs on stock Celery and stock kombu "
        f"with our worker's settings, and its results are kept.\n\n{_quietness(record)}"
    )


def _quietness(record: Record) -> str:
    shares = [run.others for run in record.runs]
    middle, most = statistics.median(shares), max(shares)
    said = f"Other processes took {middle:.0%} of the machine's time in the middle, {most:.0%} at most."
    return said if middle <= _QUIET else f"**The machine was not quiet.** {said}"


def _goals(record: Record) -> Iterator[str]:
    words = {True: "met", False: "missed", None: "not measured"}
    rows = [
        (
            goal.text,
            f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}",
            ratio_text(goal.reached),
            words[goal.is_met],
        )
        for goal in goals(record)
    ]
    yield table(("goal", "bound", "measured", ""), rows)


def _ratios(record: Record, scene: str, figures: _Columns) -> Iterator[str]:
    queues = {entry.name for entry in ENTRIES}
    rows = []
    for contender in record.contenders(scene):
        if contender in queues:
            cells = [ratio_text(compare(record, contender, name, scene=scene)) for name, _ in figures]
            rows.append([_title(record, contender, scene), *cells])
    yield table(["", *(head for _, head in figures)], rows)


def _title(record: Record, contender: str, scene: str) -> str:
    faults = len(record.faults(scene, contender))
    return f"{TITLES[contender]} (**{faults} invalid**, see below)" if faults else TITLES[contender]


def _latencies(record: Record) -> list[tuple[str, str]]:
    names = [(name, _latency(name)) for name in latency_figures(record)]
    return [*names, ("own_get_p50_ms", "own `get()`, p50")]


def _latency(name: str) -> str:
    """Format a latency's name: ``p50_ms_at_100`` as ``p50 at 100/s``."""
    share, _, pace = name.partition("_ms_at_")
    if pace.isdigit():
        return f"{share} at {pace}/s"
    whose = "that task's" if pace == BASELINE_HALF else "its own"
    return f"{share} at half of {whose} saturation"


def _server_section(record: Record) -> Iterator[str]:
    yield "## CPU of the servers"
    yield (
        "For a command of the backlog, less is better: Valkey's to that for the Celery task that does "
        f"nothing, Postgres' to that for *{TITLES[SINGLE]}*."
    )
    rows = []
    for contender in record.contenders("round"):
        valkey = compare(record, contender, _VALKEY_CPU)
        postgres = compare(record, contender, _POSTGRES_CPU, SINGLE)
        if valkey or postgres:
            rows.append([_title(record, contender, "round"), ratio_text(valkey), ratio_text(postgres)])
    yield table(("", "Valkey", "Postgres"), rows)


def _sending_section(record: Record) -> Iterator[str]:
    yield "## Sending"
    yield "No worker runs. All clients send in turns, one call after the other where nothing else is said."
    rows = [
        (
            _title(record, contender, "sending"),
            ratio_text(compare(record, contender, "enqueue_rate", scene="sending")),
        )
        for contender in record.contenders("sending")
    ]
    yield table(("", "commands a second, to stock Celery's `send_task`, more is better"), rows)


def _web_section(record: Record) -> Iterator[str]:
    if record.contenders("web"):
        yield "## A web process that sends"
        yield f"To {TITLES[WEB_BEFORE]}, less is better."
        cells = [ratio_text(compare(record, WEB, name, WEB_BEFORE, "web")) for name, _ in _WEB]
        yield table([head for _, head in _WEB], [cells])


def _backlog(record: Record) -> Iterator[str]:
    if record.contenders("backlog"):
        yield f"## A backlog of {record.plan['big_backlog']:,}"
        yield "Once each, so without a spread."
        yield from _ratios(record, "backlog", _BACKLOG)


def _table_section(record: Record) -> Iterator[str]:
    sizes = table_sizes(record)
    if sizes:
        yield "## Sessions in the table"
        yield "Ours, the time of a command, once each: half of them find their session, half make one."
        head = f"to {sizes[0]:,}, less is better"
        yield table(
            ("sessions", head),
            [(f"{size:,}", ratio_text(time_on_table(record, size, sizes[0]))) for size in sizes],
        )


def _safety_section(record: Record) -> Iterator[str]:
    if record.contenders("safety"):
        yield "## Settings of Valkey that lose less"
        yield "Once each, to the same contender without them."
        rows = [
            [
                _title(record, variant.name, "safety"),
                *(
                    ratio_text(compare(record, variant.name, name, variant.entry.name, "safety"))
                    for name, _ in _SAFETY
                ),
            ]
            for variant in VARIANTS
        ]
        yield table(["", *(head for _, head in _SAFETY)], rows)


def _limits(record: Record) -> Iterator[str]:
    names = [name for name in record.contenders("round") if name in (*LIMITS, IMPORT)]
    rows = [(TITLES[name], ratio_text(compare(record, name, "process_rate"))) for name in names]
    yield table(("", "commands a second, more is better"), rows)


def _absolute(record: Record) -> Iterator[str]:
    taken = {name for run in record.runs for name in run.figures}
    columns = [column for column in _ABSOLUTE if column[0] in taken]
    rows = []
    for contender in record.contenders("round"):
        spreads = [(absolute(record, contender, name), form) for name, _, form in columns]
        cells = [form.format(spread.median) if spread else "-" for spread, form in spreads]
        rows.append([TITLES[contender], *cells])
    yield table(["", *(head for _, head, _ in columns)], rows)


def _faults(record: Record) -> Iterator[str]:
    rows = [
        (run.contender, run.scene, str(run.round + 1), " ".join(run.fault.split())[-300:])
        for run in record.runs
        if run.fault
    ]
    if rows:
        yield "## Invalid runs"
        yield table(("", "scene", "round", "why"), rows)


def _origin(record: Record) -> Iterator[str]:
    machine = [(key.replace("_", " "), str(value)) for key, value in record.machine.items()]
    settings = [
        (server, ", ".join(f"`{name} = {value}`" for name, value in settings.items()))
        for server, settings in record.settings.items()
    ]
    versions = [(TITLES[name], text) for name, text in record.versions.items()]
    skipped = [(TITLES[name], f"left out: {reason}") for name, reason in record.skipped.items()]
    yield table(("", ""), [*machine, *settings, *versions, *skipped])

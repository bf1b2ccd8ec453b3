"""Compare the client's import time and memory with an earlier commit's.

``make bench`` does so in each round; ``python -m benchmarks.web_process`` does nothing else. Both wheels are
built and installed into virtual environments with nothing else, because a developer's tools (OpenTelemetry,
pytest) would be loaded too. Runs alternate.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Annotated, Any, Final

import typer

from benchmarks.figures import Spread
from worker.local.servers.valkey import EmbeddedValkey

ROOT: Final = Path(__file__).parent.parent
BEFORE: Final = "6d1e754"
"""The last commit whose client was a part of the worker's packages."""

FOREIGN: Final = ("tasks.py", "worker.py", "handlers/__init__.py")
"""A web application's own modules, which must not be taken for ours."""

_PACKAGES: Final = (
    "worker",
    "tasks",
    "handlers",
    "console",
    "psycopg",
    "slack_sdk",
    "slack_bolt",
    "starlette",
)
_PROBE: Final = """
import json, sys, time
began, cpu = time.perf_counter(), time.process_time()
{statement}
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
with SessionClient() as client:
    client.get_or_create("C0123ABC", "1700000000.000100", "U0456")
    private = 0
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Private_"):
            private += int(line.split()[1])
loaded = sorted({{name.partition(".")[0] for name in sys.modules}} & set({packages!r}))
print(json.dumps({{"import_ms": wall * 1e3, "import_cpu_ms": cpu * 1e3, "private_mb": private / 1e3,
                  "modules": len(sys.modules), "loaded": loaded}}))
"""
MEASURES: Final = ("import_ms", "import_cpu_ms", "private_mb", "modules")
Figures = dict[str, float]


class ProcessFailed(Exception):
    """Failure to build a side, or of a process; the message's first line tells what did not work."""


@dataclass(frozen=True)
class Side:
    """An environment with one wheel, and the program to measure there."""

    name: str
    python: Path
    program: Path

    def run(self, broker_url: str) -> dict[str, Any]:
        """Run the program: import, send one command, and return what it printed. Raises ``ProcessFailed``."""
        done = _finished((str(self.python), str(self.program)), 60, {"CELERY_BROKER_URL": broker_url})
        if done.returncode:
            raise ProcessFailed(f"{self.name}: {done.stderr}")
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured


def prepare(folder: Path, name: str, source: Path, statement: str, *more: str, foreign: bool) -> Side:
    """Build ``source``, install its wheel and ``more`` into a new environment, and write the program."""
    place = folder / name
    place.mkdir(parents=True)
    _run(sys.executable, "-m", "venv", str(place / "venv"))
    python = place / "venv" / "bin" / "python"
    _run(str(python), "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(place), str(source))
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    _run(str(python), "-m", "pip", "install", *constraints, *map(str, place.glob("threadsync-*.whl")), *more)
    program = place / "application" / "probe.py"
    program.parent.mkdir()
    program.write_text(_PROBE.format(statement=statement, packages=_PACKAGES))
    for path in FOREIGN if foreign else ():
        (program.parent / path).parent.mkdir(exist_ok=True)
        (program.parent / path).write_text("raise RuntimeError('the application did not ask for this')\n")
    return Side(name, python, program)


def source_of(commit: str, folder: Path) -> Path:
    """Write the tree of a commit of this repository into ``folder``. Raises ``ProcessFailed`` without it."""
    command = [which("git") or "git", "archive", "--format=zip", commit]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ProcessFailed(f"commit {commit} is not in this clone")
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as tree:
        tree.extractall(folder)
    return folder


def prepare_both(folder: Path, commit: str = BEFORE) -> tuple[Side, Side]:
    """Prepare the earlier commit's side and this checkout's. Raises ``ProcessFailed`` if that fails."""
    earlier = source_of(commit, folder / "source")
    # kombu's Redis transport imports packaging; the earlier commit's wheel did not ask for it.
    old = prepare(
        folder, "old", earlier, "from tasks.client import SessionClient", "packaging", foreign=False
    )
    return old, prepare(folder, "new", ROOT, "from threadsync import SessionClient", foreign=True)


def alternate(old: Side, new: Side, runs: int, broker_url: str) -> list[tuple[Figures, Figures]]:
    """Run both sides in turn, ``runs`` times; return what was measured, the old side's first."""
    pairs = []
    for number in range(runs + 1):
        pair = old.run(broker_url), new.run(broker_url)
        if pair[1]["loaded"]:
            raise ProcessFailed(f"the client loads {', '.join(pair[1]['loaded'])}")
        # The first ones read the files from the disk.
        pairs += [pair] if number else []
    return [(_figures(old), _figures(new)) for old, new in pairs]


def medians(measured: Iterable[Figures]) -> Figures:
    """Return the median of each measure."""
    runs = list(measured)
    return {name: statistics.median(run[name] for run in runs) for name in MEASURES}


def compare(pairs: Sequence[tuple[Figures, Figures]]) -> list[tuple[str, Spread, Spread, Spread]]:
    """Return each measure's old value, new value and ratio, which is taken run by run."""
    return [(name, *_spreads([(old[name], new[name]) for old, new in pairs])) for name in MEASURES]


def _figures(measured: Mapping[str, Any]) -> Figures:
    return {name: measured[name] for name in MEASURES}


def _spreads(pairs: Sequence[tuple[float, float]]) -> tuple[Spread, Spread, Spread]:
    old, new = zip(*pairs, strict=True)
    return Spread.of(old), Spread.of(new), Spread.of(after / before for before, after in pairs)


def _run(*argv: str) -> None:
    done = _finished(argv, 900)
    if done.returncode:
        raise ProcessFailed(f"{' '.join(argv)}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


def _finished(
    argv: Sequence[str], seconds: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ProcessFailed(f"{' '.join(argv)}: no end within {seconds:g} s") from None


def main(
    runs: Annotated[int, typer.Option(min=1, help="How often each side runs.")] = 15,
    commit: Annotated[str, typer.Option(help="The commit to compare with.")] = BEFORE,
) -> None:
    """Compare a web process that sends, of this checkout and of an earlier commit."""
    with tempfile.TemporaryDirectory(prefix="threadsync-web-process-") as name:
        folder = Path(name)
        old, new = prepare_both(folder, commit)
        valkey = EmbeddedValkey(folder / "valkey")
        valkey.start()
        try:
            rows = compare(alternate(old, new, runs, valkey.url))
        finally:
            valkey.stop()
    print(f"{runs} runs of each; median (lowest to highest)")  # noqa: T201
    print(f"{'':14}{commit:>24}{'this checkout':>24}{'ratio':>22}")  # noqa: T201
    for measure, before, after, ratio in rows:
        print(f"{measure:14}{_shown(before, 1):>24}{_shown(after, 1):>24}{_shown(ratio, 2):>22}")  # noqa: T201


def _shown(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


if __name__ == "__main__":
    typer.run(main)

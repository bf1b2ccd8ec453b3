"""Measurement of ``threadsync sessions import``, run from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.remote import ContenderFailed
from benchmarks.stage import Installation
from benchmarks.threads import threads

_THREADSYNC: Final = (sys.executable, "-m", "worker.cli")


def is_there() -> bool:
    """Return True if this version has the command."""
    done = subprocess.run([*_THREADSYNC, "sessions", "import", "--help"], capture_output=True, check=False)
    return done.returncode == 0


def import_rate(installation: Installation, folder: Path, count: int) -> float:
    """Return sessions a second, the start of the program included. Raises ``ContenderFailed``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sessions.jsonl"
    wanted = threads(installation.sessions, count)
    file.write_text("".join(json.dumps(thread._asdict()) + "\n" for thread in wanted))
    began = time.monotonic()
    done = subprocess.run(
        [*_THREADSYNC, "sessions", "import", str(file)],
        env=installation.env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise ContenderFailed(f"exit code {done.returncode}:\n{done.stderr[-1000:]}")
    if (made := installation.count_sessions()) != count:
        raise ContenderFailed(f"{made} of {count} sessions are there")
    return count / seconds

"""Run the threadsync command in a process of its own, forked from one that has its modules loaded."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

from tests.support import forked

Run = Callable[..., subprocess.CompletedProcess[str]]


def run_in(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `threadsync` at a width at which no path is broken over two lines.

    A process of pytest-xdist has a width of its own in its environment.
    """
    return forked.run("worker.cli", *arguments, env={**env, "COLUMNS": "400"})


def output(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a command that succeeded and wrote nothing to stderr."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def failure(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """Why it failed: a sentence, no traceback, and nothing on stdout to be taken for a result."""
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def environment_without_servers() -> dict[str, str]:
    """Return this process's environment without the addresses of servers."""
    given = ("DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "CELERY_RESULT_BACKEND")
    return {name: value for name, value in os.environ.items() if name not in given}

"""Install packages with pip into environments of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

_INSTALL_SECONDS = 900


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=120)


def install(python: str, *arguments: str, cwd: Path | None = None) -> None:
    """Run pip by the machine's own configuration; skip where it reaches no index."""
    done = subprocess.run(
        [python, "-m", "pip", *arguments],
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        words = done.stdout + done.stderr
        away = ("Could not find a version", "Connection", "Temporary failure", "No matching distribution")
        if any(word in words for word in away):
            pytest.skip(f"pip reaches no package index: {words[-300:]}")
        raise AssertionError(words[-3000:])


CELERY: Final = ("-m", "celery", "-A", "worker")

"""``threadsync demo``."""

from __future__ import annotations

import os
import sys

import typer


def demo(context: typer.Context) -> None:
    """Slack requests become rows, while a worker is being killed.

    The sandbox imports the worker, never the other way round: hence a process and no import.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "sandbox.demo", *context.args])  # noqa: S606

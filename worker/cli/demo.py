"""``threadsync demo``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import typer


def demo(context: typer.Context) -> None:
    """Show how Slack requests become rows while a worker is killed.

    It runs in a process of its own: the sandbox imports the worker, never the reverse.
    """
    if find_spec("sandbox") is None:
        typer.echo(
            "The demo is not in this image: run `make demo` in a checkout, or install the wheel.", err=True
        )
        raise typer.Exit(2)
    sys.stdout.flush()
    # -P: load no module from the current folder, where others may write.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sandbox.demo", *context.args])  # noqa: S606

"""``threadsync demo``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import typer


def demo(context: typer.Context) -> None:
    """Slack requests become rows, while a worker is being killed.

    The sandbox imports the worker, never the other way round: hence a process and no import.
    """
    if find_spec("sandbox") is None:
        typer.echo(
            "The demo is not in this image: run `make demo` in a checkout, or install the wheel.", err=True
        )
        raise typer.Exit(2)
    sys.stdout.flush()
    # -P: no module of the folder in which it is started, where others may write.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sandbox.demo", *context.args])  # noqa: S606

"""``threadsync flower``."""

from __future__ import annotations

import os
import sys
from importlib import resources
from typing import Annotated

import typer


def flower(
    address: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: FLOWER_ADDRESS, else 127.0.0.1.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5555,
) -> None:
    """Run Flower, the live view of tasks, with a login: FLOWER_BASIC_AUTH=user:password.

    It keeps the last 10,000 tasks over restarts (FLOWER_DB).
    """
    from threadsync.extras import need_extra
    from worker.operate.flower_options import options_for, without_kubernetes

    # Report faults here, before Celery and Flower are loaded.
    options_for(os.environ)
    need_extra("flower", "flower")
    config = str(resources.files("worker.operate").joinpath("flower_conf.py"))
    # -P: load no module from the current folder, where others may write.
    argv = [sys.executable, "-P", "-m", "worker.operate.flower_process", "-A", "worker", "flower"]
    argv += [f"--conf={config}", f"--port={port}", *([f"--address={address}"] if address else [])]
    sys.stdout.flush()
    os.execve(sys.executable, argv, without_kubernetes(os.environ))  # noqa: S606 - our own command line

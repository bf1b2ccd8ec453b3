"""``threadsync worker``."""

from __future__ import annotations

import typer


def worker(context: typer.Context) -> None:
    """Run a worker: `celery -A worker worker` with its options, and less memory."""
    from worker.operate.worker_process import run

    run(context.args)

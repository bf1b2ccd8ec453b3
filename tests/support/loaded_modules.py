"""A task that tells which modules a worker has loaded: ``--include tests.support.loaded_modules``."""

from __future__ import annotations

import sys

from celery import signals

from worker.celery import app

_at_the_start: list[str] = []


@signals.worker_process_init.connect(weak=False)
def _note(**_: object) -> None:
    _at_the_start[:] = sys.modules


@app.task(name="probe.loaded")
def loaded() -> dict[str, list[str]]:
    """Return the modules that were there when this process began, and those that are there now."""
    return {"at_start": _at_the_start, "now": list(sys.modules)}

"""Tasks that forget on a schedule: sessions that waited for a sync in doubt, and rows past retention."""

from __future__ import annotations

import time
from typing import Final

import structlog

from tasks.send_soon import note_that_it_came
from threadsync.config import get_settings
from worker.celery import app
from worker.db.forgetting.store import ForgetStore
from worker.durable.beat import RETAIN, RETAIN_TASK, SETTLE, SETTLE_TASK

_AT_ONCE: Final = 500
_LONGEST_SECONDS: Final = 40.0
"""Longest run; it leaves the rest to the next run, an hour later."""

log = structlog.get_logger("threadsync.tasks")


@app.task(name=SETTLE_TASK, ignore_result=True, send_events=False, is_routine=True)
def settle() -> dict[str, int]:
    """Forget sessions whose ticket was in doubt until now. Returns counts."""
    note_that_it_came(SETTLE)
    settled = ForgetStore().forget_settled()
    if settled:
        log.info("forgotten, now that their tickets are settled", sessions=settled)
    return {"settled": settled}


@app.task(name=RETAIN_TASK, ignore_result=True, send_events=False, soft_time_limit=110, time_limit=120)
def retain() -> dict[str, int]:
    """Erase in batches rows older than their retention in the settings. Returns counts."""
    note_that_it_came(RETAIN)
    settings, store = get_settings(), ForgetStore()
    until = time.monotonic() + _LONGEST_SECONDS
    counts = dict.fromkeys(("drafts", "letters", "sessions"), 0)
    while True:
        batch = store.retain(
            drafts_days=settings.retention_drafts_days,
            letters_days=settings.retention_letters_days,
            sessions_days=settings.retention_sessions_days,
            most=_AT_ONCE,
        )
        for name in counts:
            counts[name] += getattr(batch, name)
        if batch.most < _AT_ONCE or time.monotonic() > until:
            break
    if any(counts.values()):
        log.info("older than it may become", **counts)
    return counts

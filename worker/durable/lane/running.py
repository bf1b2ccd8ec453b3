"""Carry a chunk of the fast lane out, in a child: read it, run its statements, tell of its ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from celery import current_app

from threadsync.dto import Dto
from threadsync.errors import DatabaseUnavailable, ThreadsyncError
from worker.db.forgetting.arrivals import redaction
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement
from worker.durable.lane.chunk import Job, Outcome
from worker.durable.lane.opening import is_listened_to
from worker.durable.lane.reading import Plain, read_plain
from worker.durable.lane.telling import Ending, tell
from worker.durable.task import fields_of_done
from worker.observe import metrics
from worker.observe.logs import log_many

log = structlog.get_logger("threadsync.tasks")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A plain command of the chunk, and its statement."""

    place: int
    message: Plain
    task: Any
    statement: Statement[Any]


def run_chunk(job: Job) -> Outcome:
    """Run the commands of a chunk. Raises the time limit, and what is unforeseen: then all go back."""
    everything = range(len(job.messages))
    if is_listened_to():
        return Outcome(everything)
    began, entries = time.time(), list(_entries(job))
    started = time.perf_counter()
    try:
        outcomes = _outcomes([entry.statement for entry in entries])
    except DatabaseUnavailable as exc:
        log.info("the fast lane rests", reason=str(exc))
        return Outcome(everything, is_away=True)
    seconds = time.perf_counter() - started
    ended = [
        _ended(entry, outcome)
        for entry, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, Dto)
    ]
    is_told, clock = tell(job, ended, began, seconds)
    log_many("threadsync.tasks", "task done", (_told(ending, seconds) for ending in ended))
    places = {ending.place for ending in ended}
    counts = Counter(ending.message.name for ending in ended)
    return Outcome([place for place in everything if place not in places], is_told, [*counts.items()], clock)


def _outcomes(statements: Sequence[Statement[Any]]) -> Sequence[object]:
    """Run the statements; return for each its result, or the error that refused it."""
    if len(statements) != 1:
        return SessionStore().execute_many(statements)
    try:
        return [SessionStore().execute(statements[0])]
    except DatabaseUnavailable:
        raise
    except ThreadsyncError as exc:
        return [exc]


def _entries(job: Job) -> Iterator[_Entry]:
    """Yield the commands that are plain and valid, each id once."""
    tasks: Mapping[str, Any] = current_app.tasks
    known, seen = redaction(), set(job.revoked)
    for place, raw in enumerate(job.messages):
        plain = read_plain(raw)
        if plain is None or plain.task_id in seen:
            continue
        seen.add(plain.task_id)
        if known:
            plain = plain._replace(kwargs=known.arguments(plain.kwargs))
        # Whatever is wrong with it: its task meets the same error on the ordinary road.
        with suppress(Exception):
            task = tasks[plain.name]
            yield _Entry(place, plain, task, task.statement((), plain.kwargs))


def _ended(entry: _Entry, result: Dto) -> Ending:
    """Do what a task does when its statement has run, except to tell the broker."""
    message = entry.message
    sent = entry.task.send_next(result, message.task_id)
    metrics.command_ended(message.name, getattr(result, "outcome", "ok"), message.headers)
    return Ending(entry.place, message, entry.task.command, result, sent)


def _told(ending: Ending, seconds: float) -> dict[str, Any]:
    message = ending.message
    return fields_of_done(message.name, message.task_id, message.kwargs, vars(ending.result), seconds)

"""Carry a chunk of the fast lane out, in a child: read it, run its statements, tell of its ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import structlog
from celery import current_app

from threadsync.dto import Dto
from threadsync.errors import DatabaseUnavailable, ThreadsyncError
from worker.db.forgetting.arrivals import look_ahead, redaction
from worker.db.sessions.store import SessionStore
from worker.db.statement import Statement
from worker.durable.lane.chunk import Job, Outcome
from worker.durable.lane.ending import Ending
from worker.durable.lane.opening import is_listened_to
from worker.durable.lane.reading import Plain, read_plain
from worker.durable.lane.telling import tell
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
    everything = range(len(job.tags))
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
    rounded = round(seconds, 4)
    is_told, clock = tell(job, ended, began, seconds)
    log_many("threadsync.tasks", "task done", [_told(ending, rounded) for ending in ended])
    places = {ending.place for ending in ended}
    counts = Counter(ending.message.name for ending in ended)
    if len(ended) == len(job.tags):
        # Nothing waits for this process any more.
        look_ahead()
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
    # A line at a time: a list of them would leave holes in the memory.
    for place, line in enumerate(BytesIO(job.text)):
        plain = read_plain(line.rstrip(b"\n"))
        if plain is None or plain.task_id in seen:
            continue
        seen.add(plain.task_id)
        if known:
            plain = plain._replace(kwargs=known.arguments(plain.kwargs))
        try:
            task = tasks[plain.name]
            statement = task.statement((), plain.kwargs)
        except Exception:  # noqa: BLE001, S112 - its task meets the same error on the ordinary road
            continue
        yield _Entry(place, plain, task, statement)


def _ended(entry: _Entry, result: Dto) -> Ending:
    """Do what a task does when its statement has run, except to tell the broker."""
    message = entry.message
    sent = entry.task.send_next(result, message.task_id)
    metrics.command_ended(message.name, getattr(result, "outcome", "ok"), message.headers)
    return Ending(entry.place, message, entry.task.command, result, sent)


def _told(ending: Ending, seconds: float) -> dict[str, Any]:
    message = ending.message
    return fields_of_done(message.name, message.task_id, message.kwargs, vars(ending.result), seconds)

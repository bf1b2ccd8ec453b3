"""Tasks that misbehave on purpose, for workers started with ``--include tests.support.probe_tasks``."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from kombu import compression

from tasks.command_task import CommandTask
from tests.support.workers import DEADLY
from threadsync.commands import GetSession
from threadsync.errors import DatabaseUnavailable
from worker.celery import app
from worker.db.statement import Statement
from worker.durable.task import DurableTask


def _note(diary: str, line: str) -> None:
    """Append in one write, so that the line is there even if the next instruction is the last."""
    fd = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


def _die(_: Any) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


compression.register(bytes, _die, DEADLY)


DEADLY_WITH_DIARY = "application/x-deadly-with-diary"
"""A compression: a message that says so ends each process that opens it. Its body is a diary's path."""


def _die_of_it(diary: bytes) -> bytes:
    _note(diary.decode(), str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)
    return diary


compression.register(bytes, _die_of_it, DEADLY_WITH_DIARY)


@app.task(name="probe.kill_child")
def kill_child(diary: str, times: int = 1_000_000) -> str:
    """SIGKILL its own process, the first ``times`` times."""
    _note(diary, "run")
    if Path(diary).read_text().count("run") <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


class _WithoutMemory(DurableTask):
    abstract = True

    def before_start(self, *_: Any) -> None:
        """Celery calls it outside the command."""
        raise MemoryError


@app.task(name="probe.no_memory", base=_WithoutMemory)
def no_memory() -> None:
    """Its process has no memory for it, ever."""


@app.task(name="probe.raise")
def raise_error() -> None:
    """Fail with an error that is not ours."""
    raise ValueError("probe")


@app.task(name="probe.hang")
def hang(diary: str) -> None:
    """Ignore the soft time limit, so that the hard one ends it."""
    _note(diary, "run")
    while True:
        try:
            threading.Event().wait(60)
        except Exception as exc:  # noqa: BLE001 - a task that will not stop
            _note(diary, type(exc).__name__)


@app.task(name="probe.take")
def take(diary: str, seconds: float) -> str:
    """Begin, take a while, and end; the diary tells both."""
    _note(diary, "begin")
    time.sleep(seconds)
    _note(diary, "end")
    return "ended"


@app.task(name="probe.unserializable")
def unserializable() -> object:
    """Answer what is no JSON."""
    return object()


@app.task(name="probe.database_away")
def database_away(diary: str, times: int) -> str:
    """Find the database away, the first ``times`` times."""
    _note(diary, "run")
    if Path(diary).read_text().count("run") <= times:
        raise DatabaseUnavailable("probe")
    return "there again"


class _BreaksItsStatement(CommandTask):
    """A command whose statement cannot even be made, for an unforeseen reason."""

    name = "probe.breaks_its_statement"
    command = GetSession

    def statement(self, args: Any, kwargs: Any) -> Statement[Any]:
        raise ZeroDivisionError("probe")


app.register_task(_BreaksItsStatement())

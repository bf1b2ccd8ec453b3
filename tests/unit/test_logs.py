"""A line of the log: what people and programs that read it rely on."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from worker import logs
from worker.logs import configure_logging

Write = Callable[[], None]


def task_done() -> None:
    fields = {"thread_ts": "1700000000.000100", "seconds": 0.0012, "task_id": "Ev1"}
    structlog.get_logger("threadsync.tasks").info("task done", outcome=None, **fields)


def with_odd_values() -> None:
    structlog.get_logger("threadsync.tasks").warning("odd", words="a b", lines="a\nb", empty="")


def of_a_library() -> None:
    logging.getLogger("celery.worker").error("a message that is longer than the column for %s", "it")


def with_a_traceback() -> None:
    try:
        raise ZeroDivisionError("of a test")
    except ZeroDivisionError:
        structlog.get_logger("threadsync.tasks").exception("failed", count=1)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.reset_defaults()
    configure_logging()
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("write", [task_done, with_odd_values, of_a_library, with_a_traceback])
def test_a_line_is_that_of_structlogs_console_without_colours(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """Ours is quicker, and no different."""
    write()
    ours = stderr.getvalue()
    stderr.seek(0)
    stderr.truncate()
    theirs = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    monkeypatch.setattr(logs, "_renderer", lambda format: (theirs,))
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging()
    write()
    assert without_time(ours) == without_time(stderr.getvalue())
    assert without_time(ours)


@pytest.mark.parametrize("write", [task_done, with_odd_values, of_a_library, with_a_traceback])
def test_a_line_for_machines_is_an_object(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """Ours and those of libraries have the same fields."""
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging(format="json")
    write()
    (line,) = stderr.getvalue().splitlines()
    assert json.loads(line).keys() >= {"timestamp", "level", "logger", "event"}


def test_other_handlers_get_text(stderr: io.StringIO) -> None:
    """Such as Sentry's: they read the record's message."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(handler)
    task_done()
    assert [record.getMessage() for record in records] == stderr.getvalue().splitlines()


def without_time(line: str) -> str:
    return line.partition(" ")[2].rstrip()

"""A line of the log: what people and programs that read it rely on."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

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
def test_a_line_is_that_of_structlogs_console_without_colours(stderr: io.StringIO, write: Write) -> None:
    """Ours is quicker, and no different."""
    write()
    ours = stderr.getvalue()
    stderr.seek(0)
    stderr.truncate()
    (handler,) = (handler for handler in logging.getLogger().handlers if handler.stream is stderr)  # type: ignore[attr-defined]
    handler.formatter.processors = [  # type: ignore[union-attr]
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
    write()
    assert without_time(ours) == without_time(stderr.getvalue())
    assert without_time(ours)


def without_time(line: str) -> str:
    return line.partition(" ")[2].rstrip()

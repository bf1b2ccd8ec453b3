"""Lines of the log, as people and programs rely on them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import structlog

from worker.observe import logs
from worker.observe.logs import configure_logging, log_many

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
    """A line is the same as that of structlog's console without colours."""
    write()
    ours = stderr.getvalue()
    stderr.seek(0)
    stderr.truncate()
    theirs = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    monkeypatch.setattr(logs, "_renderer", lambda format: (theirs,))
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging()
    write()
    # The margin differs: it keeps lines of foreign text from being taken for events.
    assert without_time(ours.replace("\n  | ", "\n")) == without_time(stderr.getvalue())
    assert without_time(ours)


@pytest.mark.parametrize("write", [task_done, with_odd_values, of_a_library, with_a_traceback])
def test_a_line_for_machines_is_an_object(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """A line in JSON is an object with the same basic fields, for our events and those of libraries."""
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging(format="json")
    write()
    (line,) = stderr.getvalue().splitlines()
    assert json.loads(line).keys() >= {"timestamp", "level", "logger", "event"}


FORGED = "x\n2026-11-29T00:00:00Z [error    ] forged\x1b[2J\r\u2028\u202eline"


def by_a_value() -> None:
    structlog.get_logger("threadsync.tasks").warning("told", reason=FORGED)


def by_a_name() -> None:
    structlog.get_logger("threadsync.tasks").warning("told", **{FORGED: 1})


def by_an_event() -> None:
    structlog.get_logger("threadsync.tasks").warning(FORGED)


def by_an_object() -> None:
    structlog.get_logger("threadsync.tasks").warning("told", reasons=[FORGED, {FORGED: 1}])


def by_a_library() -> None:
    logging.getLogger(f"celery.{FORGED}").error("task %s failed", FORGED)


def by_an_error() -> None:
    try:
        try:
            raise ValueError(FORGED)
        except ValueError as exc:
            raise RuntimeError(FORGED) from exc
    except RuntimeError:
        structlog.get_logger("threadsync.tasks").exception("failed")


def by_a_librarys_error() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("celery.worker").exception("failed with %s", FORGED)


FORGERIES = [
    by_a_value,
    by_a_name,
    by_an_event,
    by_an_object,
    by_a_library,
    by_an_error,
    by_a_librarys_error,
]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("write", FORGERIES)
def test_no_text_of_others_is_a_line_of_the_log(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, write: Write, terminal: bool
) -> None:
    """One event is one line at the margin, and no text in it moves the cursor or hides what follows."""
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(stderr, "isatty", lambda: terminal, raising=False)
    configure_logging()
    write()
    text = stderr.getvalue()
    # The renderer's own colours on a terminal.
    text = re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text
    lines = text.rstrip("\n").split("\n")
    assert [line for line in lines if not line.startswith("  | ")] == lines[:1]
    assert not set(text) & set("\x1b\r\u2028\u202e"), text
    assert "forged" in text


@pytest.mark.parametrize("write", FORGERIES)
def test_no_text_of_others_is_a_line_for_machines(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """One event is one JSON object, whatever text is in it."""
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging(format="json")
    write()
    (line,) = stderr.getvalue().rstrip("\n").split("\n")
    assert isinstance(json.loads(line), dict)
    assert line.isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("bound", [{}, {"actor": "U1"}])
@pytest.mark.parametrize(
    "values",
    [
        ("plain", "C1", 0.5, None, True),
        ("two words", "a=b", "", " ", "="),
        ("two words", "no=b", "a", "b"),
        ("a\nb", "\x1b[2J", "\u2028", "é", "'quoted'"),
        (["a", "b"], {"a": "b c"}, b"bytes"),
    ],
)
def test_many_events_are_written_as_each_by_itself(
    stderr: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    form: Literal["text", "json"],
    bound: dict[str, str],
    values: tuple[object, ...],
) -> None:
    """Events that are written together have the lines that they would have one by one."""
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logging(format=form)
    read = without_time if form == "text" else fields_without_time
    all_fields = [{"task": "t", f"field{place}": value} for place, value in enumerate(values)]
    all_fields.append({f"field{place}": value for place, value in enumerate(values)})
    with structlog.contextvars.bound_contextvars(**bound):
        for fields in all_fields:
            structlog.get_logger("threadsync.tasks").info("task done", **fields)
        one_by_one = [read(line) for line in stderr.getvalue().splitlines()]
        stderr.truncate(0)
        stderr.seek(0)
        log_many("threadsync.tasks", "task done", all_fields)
    assert [read(line) for line in stderr.getvalue().splitlines()] == one_by_one
    assert len(one_by_one) == len(all_fields)


def test_other_handlers_get_text(stderr: io.StringIO) -> None:
    """Other handlers, such as Sentry's, get the record's message as text."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(handler)
    task_done()
    assert [record.getMessage() for record in records] == stderr.getvalue().splitlines()


def fields_without_time(line: str) -> dict[str, object]:
    return {name: value for name, value in json.loads(line).items() if name != "timestamp"}


def without_time(line: str) -> str:
    return line.partition(" ")[2].rstrip()

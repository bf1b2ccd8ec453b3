"""A limit on log lines that anybody can cause: counted, and not all written."""

from __future__ import annotations

import logging

import structlog

from worker.observe.line_limit import LineLimit


def test_so_many_lines_a_second() -> None:
    """Only so many lines a second are written; the next second reports how many were left out."""
    now = 100.0
    limit = LineLimit("of a kind", 3, lambda: now)
    with structlog.testing.capture_logs() as logs:
        assert [limit.may_say() for _ in range(5)] == [True, True, True, False, False]
        assert logs == []
        now = 101.5
        assert [limit.may_say() for _ in range(4)] == [True, True, True, False]
        now = 200.0
        assert limit.may_say()
        now = 300.0
        assert limit.may_say()
    assert [(entry["kind"], entry["lines"]) for entry in logs] == [("of a kind", 2), ("of a kind", 1)]


def test_an_error_is_always_told() -> None:
    """An error is always written, whatever the limit."""
    limit = LineLimit("of a kind", 1, lambda: 0.0)

    def record(level: int) -> logging.LogRecord:
        return logging.LogRecord("uvicorn.error", level, "", 0, "", None, None)

    told = [limit.filter(record(level)) for level in (logging.INFO, logging.WARNING, logging.ERROR)]
    assert told == [True, False, True]

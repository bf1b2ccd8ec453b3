"""Logs: one event a line, with fields; for people (``text``) or for machines (``json``)."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Literal

import structlog
from structlog.types import Processor

from worker.last_words import InASentence

# One line a command is ours ("task done" and its kin). Celery's would repeat it, results included.
_TOO_TALKATIVE = {
    "celery.app.trace": logging.WARNING,
    # "Sending due task", every two seconds.
    "celery.beat": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    # At DEBUG it shows messages as they are.
    "celery.pool": logging.INFO,
    "httpx": logging.WARNING,
    "psycopg.pool": logging.ERROR,
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
}

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _Line(str):
    """An event of ours, rendered as it will be written."""


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Renders what other libraries log. To render ours here as well would take a copy of each record."""

    def format(self, record: logging.LogRecord) -> str:
        return record.msg if isinstance(record.msg, _Line) else super().format(record)


def configure_logging(
    level: str | int = "INFO", format: Literal["text", "json"] = "text", path: str | None = None
) -> None:
    """Send the process's logs, other libraries' too, to stderr or to the file ``path``. May be repeated."""
    handler = logging.FileHandler(Path(path), encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    renderer = _renderer(format)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(InASentence())
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)
    # What no line shows need not be looked up: https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name, least in _TOO_TALKATIVE.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, *renderer, _as_line],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _as_line(_logger: Any, _method: str, rendered: Any) -> _Line:
    return _Line(rendered)


def _renderer(format: Literal["text", "json"]) -> tuple[Processor, ...]:
    if format == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()
    if not sys.stderr.isatty():
        return structlog.processors.format_exc_info, _line
    # The pretty tracebacks would print local variables, and so what people wrote.
    return (structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),)


def _line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """As ``ConsoleRenderer`` without its colours, which takes a tenth of a busy worker's time."""
    exception = event.pop("exception", None)
    time, level, name = event.pop("timestamp"), event.pop("level"), event.pop("logger")
    words = [f"{time} [{level:<9}] {event.pop('event'):<30} [{name}]"]
    words += [f"{key}={_value(value)}" for key, value in sorted(event.items())]
    return " ".join(words) + (f"\n{exception}" if exception else "")


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or "=" in text or not text.isprintable() else text

"""Logs: one event a line, with fields; for people (``text``) or for machines (``json``)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Literal

import structlog
from structlog.types import Processor

# One line a command is ours ("task done" and its kin). Celery's would repeat it, results included.
_TOO_TALKATIVE = {
    "celery.app.trace": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    "httpx": logging.WARNING,
    "psycopg.pool": logging.ERROR,
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
}

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(allow=()),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(
    level: str | int = "INFO", format: Literal["text", "json"] = "text", path: str | None = None
) -> None:
    """Send the process's logs, other libraries' too, to stderr or to the file ``path``. May be repeated."""
    handler = logging.FileHandler(Path(path)) if path else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(format)],
        )
    )
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _TOO_TALKATIVE.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _renderer(format: Literal["text", "json"]) -> tuple[Processor, ...]:
    if format == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()
    # The pretty tracebacks would print local variables, and so what people wrote.
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)

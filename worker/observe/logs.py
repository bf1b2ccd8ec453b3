"""Log one event a line, with fields: as ``text`` to read, or as ``json`` for machines.

Any value, a library's message or an error's text may hold words of a stranger. In ``text`` they begin no line
of their own and move no cursor: characters that cannot be printed are escaped, and all lines of an event but
the first are indented.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.types import Processor

from worker.observe.last_words import InASentence

# We log a line a command ("task done" and its kin). Celery's would repeat it, results included.
_TOO_TALKATIVE = {
    "celery.app.trace": logging.WARNING,
    # "Sending due task", every two seconds.
    "celery.beat": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    # At DEBUG it shows messages as they are.
    "celery.pool": logging.INFO,
    # At DEBUG it shows headers, in which Slack names files.
    "httpcore": logging.INFO,
    "httpx": logging.WARNING,
    "psycopg.pool": logging.ERROR,
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
}

_MARGIN = "  | "
"""Beginning of each line of a traceback."""

_NO_TEXT = frozenset({"exc_info", "exception", "stack"})

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _Line(str):
    """An event of ours, or several, rendered as it will be written."""


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Formatter of other libraries' records; ours are rendered before, without a copy of each."""

    def format(self, record: logging.LogRecord) -> str:
        return record.msg if isinstance(record.msg, _Line) else super().format(record)


def configure_logging(
    level: str | int = "INFO",
    format: Literal["text", "json"] = "text",
    path: str | None = None,
    last_words: InASentence | None = None,
) -> None:
    """Send the process's logs, other libraries' too, to stderr or to the file ``path``. May be repeated."""
    handler = logging.FileHandler(Path(path), encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    global _renders
    renderer = _renders = _renderer(format)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(last_words or InASentence())
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


_renders: Sequence[Processor] = ()
"""The processors that make a line of an event, once logging is configured."""


def log_many(name: str, event: str, all_fields: Iterable[Mapping[str, Any]]) -> None:
    """Log one event with each of the given fields, at level INFO, in a single write."""
    logger = logging.getLogger(name)
    if not (_renders and logger.isEnabledFor(logging.INFO)):
        return
    common: MutableMapping[str, Any] = {"event": event}
    for process in _SHARED:
        common = process(logger, "info", common)  # type: ignore[assignment]
    if _renders[-1] is _line and common.keys() == _OF_EACH_LINE:
        head = _head(common)
        lines = [f"{head} {_fields(fields)}" for fields in all_fields]
    else:
        lines = [_rendered(logger, {**common, **fields}) for fields in all_fields]
    if lines:
        logger.info(_Line("\n".join(lines)))


def _rendered(logger: Any, event: dict[str, Any]) -> str:
    rendered: Any = event
    for process in _renders:
        rendered = process(logger, "info", rendered)
    return str(rendered)


def _as_line(_logger: Any, _method: str, rendered: Any) -> _Line:
    return _Line(rendered)


def _renderer(format: Literal["text", "json"]) -> tuple[Processor, ...]:
    if format == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer()
    if not sys.stderr.isatty():
        return structlog.processors.format_exc_info, _line
    # The pretty tracebacks would print local variables, and so what people wrote.
    return _spelt_out, structlog.dev.ConsoleRenderer(exception_formatter=_plain_traceback)


def _line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """Render as ``ConsoleRenderer`` without colours, which would take a tenth of a busy worker's time."""
    exception, stack = event.pop("exception", None), event.pop("stack", None)
    first, _, more = str(event["event"]).rstrip("\n").partition("\n")
    words = _head({**event, "event": first})
    for name in _OF_EACH_LINE:
        del event[name]
    if event:
        words += f" {_fields(event)}"
    behind = (f"\n{indented(text)}" for text in (more, stack, exception) if text)
    return words + "".join(behind)


_OF_EACH_LINE: Final = frozenset({"timestamp", "level", "event", "logger"})


def _head(event: Mapping[str, Any]) -> str:
    words = f"[{event['level']:<9}] {plain(event['event']):<30} [{plain(event['logger'])}]"
    return f"{event['timestamp']} {words}"


def _fields(event: Mapping[str, Any]) -> str:
    items = sorted(event.items())
    fields = " ".join([f"{key}={value}" for key, value in items])
    # As a rule none needs quotes, which is seen sooner of all of them at once.
    if fields.isprintable() and fields.count("=") == fields.count(" ") + 1 == len(items):
        return fields
    return " ".join([f"{plain(key)}={_value(value)}" for key, value in items])


def plain(value: object) -> str:
    """Return a value as one printable line; other characters are escaped, as ``\\n``."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def indented(text: object) -> str:
    """Return lines that cannot be taken for events, as none begins at the margin."""
    return "\n".join(f"{_MARGIN}{plain(line)}" for line in str(text).split("\n"))


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or "=" in text or not text.isprintable() else text


def _spelt_out(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape an event for structlog's own renderer, which would write it to the terminal as it is."""
    spelt = {plain(key): value if key in _NO_TEXT else _spelt(value) for key, value in event.items()}
    head, _, more = str(event["event"]).rstrip("\n").partition("\n")
    return {**spelt, "event": plain(head) + (f"\n{indented(more)}" if more else "")}


def _spelt(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else plain(value)


def _plain_traceback(stream: TextIO, exc_info: Any) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.write("\n" + indented(written.getvalue().strip("\n")))

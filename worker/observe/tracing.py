"""Trace with OpenTelemetry, from Slack's request through the task to SQL and Jira. Off by default.

The contrib instrumentations do the work. Each process starts them, and strips spans before they leave: of
error messages and stack traces, which may quote a draft, and of all in a URL but its place (queries, and the
paths of Slack's response URLs, which are secrets).

Commands that run as a batch share one pipeline of SQL: its spans are below a span ``batch``, which is linked
to each command's trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from threadsync.config import Settings
from threadsync.errors import InvalidSettings
from threadsync.send_hooks import add_send_hook

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

_URLS: Final = frozenset({"http.url", "url.full", "http.target"})
_DROPPED: Final = frozenset({"url.query", "http.user_agent", "user_agent.original"})
_DROPPED_OF_EVENTS: Final = frozenset({"exception.message", "exception.stacktrace"})
_SHOWN_PATHS: Final = ("/rest/api/", "/api/", "/slack/events", "/console", "/healthz", "/readyz")

_PACKAGES: Final = (
    "opentelemetry.sdk",
    "opentelemetry.exporter.otlp.proto.http",
    *(
        f"opentelemetry.instrumentation.{name}"
        for name in ("aiohttp_client", "asgi", "celery", "httpx", "psycopg")
    ),
)

_provider: TracerProvider | None = None


def check_tracing(settings: Settings) -> None:
    """Raise ``InvalidSettings`` if the settings want traces and the packages for them are missing."""
    if settings.otel_traces_exporter == "none":
        return
    missing = [name for name in _PACKAGES if not _is_there(name)]
    if missing:
        raise InvalidSettings(
            f"OTEL_TRACES_EXPORTER is set, and not installed is {', '.join(missing)}: "
            "pip install 'threadsync[otel]'"
        )


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def start_tracing(settings: Settings, service: str) -> None:
    """Begin to trace this process, if the settings say so. Raise as ``check_tracing`` does.

    Args:
        service: of the process, such as ``web``; in the trace, ``threadsync-web``.
    """
    global _provider
    if settings.otel_traces_exporter == "none" or _provider is not None:
        return
    check_tracing(settings)
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _provider = TracerProvider(resource=Resource.create({"service.name": f"threadsync-{service}"}))
    _provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
    trace.set_tracer_provider(_provider)
    _instrument()
    # Our client sends without Celery.
    add_send_hook(_send_span)


def _instrument() -> None:
    """Trace the libraries that are there: each extra brings only its own."""
    if _is_there("celery"):
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    if _is_there("psycopg"):
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

        # Never its parameters: a draft is among them.
        PsycopgInstrumentor().instrument(capture_parameters=False)
    if _is_there("httpx"):
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        HTTPXClientInstrumentor().instrument()
    if _is_there("aiohttp"):
        from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor

        AioHttpClientInstrumentor().instrument()


def stop_tracing() -> None:
    """Send the remaining spans, within a few seconds even if no collector accepts them."""
    if _provider is not None:
        _provider.shutdown()


def traced_app(app: Any) -> Any:
    """Return the ASGI app, with a span for each request if this process is traced."""
    if _provider is None:
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    # Without a span for each message of the protocol.
    return OpenTelemetryMiddleware(app, exclude_spans=["receive", "send"])


def batch_span(headers: Iterable[Mapping[str, Any]]) -> AbstractContextManager[Any]:
    """Return a span around a batch, linked to the traces that its messages' headers name."""
    if _provider is None:
        return nullcontext()
    from opentelemetry import propagate, trace

    contexts = [trace.get_current_span(propagate.extract(one)).get_span_context() for one in headers]
    links = [trace.Link(context) for context in contexts if context.is_valid]
    return _provider.get_tracer("threadsync").start_as_current_span("batch", links=links)


@contextmanager
def _send_span(task: str, headers: dict[str, Any]) -> Iterator[None]:
    """Trace one sending as the Celery instrumentation does, and put the trace into the message."""
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("threadsync")
    told = {"celery.action": "apply_async", "celery.task_name": task, "messaging.message.id": headers["id"]}
    with tracer.start_as_current_span(f"apply_async/{task}", kind=trace.SpanKind.PRODUCER, attributes=told):
        propagate.inject(headers)
        yield


def _exporter(settings: Settings) -> Any:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

    class Stripped(SpanExporter):
        def __init__(self, inner: SpanExporter) -> None:
            self._inner = inner

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return self._inner.export([stripped(span) for span in spans])

        def shutdown(self) -> None:
            self._inner.shutdown()

    if settings.otel_traces_exporter == "console":
        return Stripped(ConsoleSpanExporter())
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Stripped(OTLPSpanExporter())


def stripped(span: ReadableSpan) -> ReadableSpan:
    """Return the span without secrets, and without words of people."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Status

    events = [
        Event(event.name, _without(event.attributes, _DROPPED_OF_EVENTS), event.timestamp)
        for event in span.events
    ]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_without(span.attributes, _DROPPED),
        events=events,
        links=span.links,
        kind=span.kind,
        # Without the description, which is an error's message.
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without(attributes: Mapping[str, Any] | None, names: frozenset[str]) -> dict[str, Any]:
    return {
        name: place_of(str(value)) if name in _URLS else value
        for name, value in (attributes or {}).items()
        if name not in names
    }


def place_of(url: str) -> str:
    """Return a URL's host, and its path where that holds no secret."""
    parts = urlsplit(url)
    path = parts.path if parts.path.startswith(_SHOWN_PATHS) else ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{path}" if host else path

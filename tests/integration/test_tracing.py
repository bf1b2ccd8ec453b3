"""Traces from Slack's request through the tasks to SQL and Jira, without text that people wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from handlers.ticket_form import DESCRIPTION, SUMMARY, ticket_form
from sandbox.jira.faults import Refuse
from sandbox.jira.server import JiraSandbox
from sandbox.slack.requests import app_mention, button_click, signed_request, view_submission
from sandbox.slack.server import SlackSandbox
from tests.support.installation import Installation
from tests.support.slack_app import SECRET
from tests.support.trace_collector import Collector
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from threadsync.errors import InvalidSettings
from worker.observe.tracing import batch_span, check_tracing, place_of, stripped

CANARY = "ocelot"
THREAD = ("C0123ABC", "1700000000.000100")


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def path_to(spans: list[Span], name: str) -> list[str]:
    """Return the names from the root to the first span of this name."""
    by_id = {span.span_id: span for span in spans}
    span: Span | None = next(span for span in spans if span.name == name)
    names: list[str] = []
    while span is not None:
        names.append(span.name)
        span = by_id.get(span.parent_span_id)
    return names[::-1]


def test_from_slack_to_sql_and_jira(installation: Installation, collector: Collector) -> None:
    """A Slack request and all its effects are one trace, without drafts, tokens or texts of errors."""
    with JiraSandbox() as jira, SlackSandbox() as slack:
        jira.site.email, jira.site.token = f"{CANARY}@example.com", f"{CANARY}-token"
        # Jira's refusal quotes the draft.
        jira.site.fail("create", Refuse(400, (f"{CANARY} plan is not wanted",), {"summary": f"{CANARY}: no"}))
        env = {
            **installation.env,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "SLACK_API_URL": slack.api_url,
            "SLACK_BOT_TOKEN": slack.token,
            "JIRA_URL": jira.url,
            "JIRA_EMAIL": jira.site.email,
            "JIRA_API_TOKEN": jira.site.token,
            "JIRA_PROJECT_KEY": "PROJ",
        }
        with (
            installation.worker("traced", **env) as worker,
            WebProcess(env, installation.logs / "web.log") as web,
        ):

            def deliver(payload: dict[str, object]) -> None:
                assert web.deliver(signed_request(SECRET, payload)).status_code == 200

            deliver(app_mention(THREAD[0], "U0456", f"{CANARY} says hi", ts=THREAD[1]))
            wait_until(lambda: installation.sessions(), "the session is there", 20)
            click = button_click(
                "threadsync_create",
                THREAD[1],
                THREAD[0],
                "U0456",
                message_ts="1700000001.000100",
                thread_ts=THREAD[1],
                response_url=slack.new_response_url(),
            )
            form = {**ticket_form(click), "id": "V1"}
            written = {SUMMARY: f"{CANARY} plan", DESCRIPTION: f"the {CANARY} of it"}
            deliver(view_submission(form, written, "U0456"))
            wait_until(
                lambda: "run/syncs.sync" in {span.name for span in collector.spans}, "the sync is seen", 30
            )
            refused = {"summary": {CANARY: CANARY}, "labels": CANARY}
            installation.send(
                "sessions.request_sync", channel_id="C1", thread_ts="1.1", draft=refused, drafted_at=CANARY
            )
            wait_until(
                lambda: "POST" in {span.name for span in collector.trace_of("run/syncs.sync")},
                "its requests to Jira are seen",
                20,
            )
            worker.stop()
        spans = collector.trace_of("run/syncs.sync")
        assert len({span.trace_id for span in spans}) == 1
        assert path_to(spans, "run/syncs.sync") == [
            "POST /slack/events",
            "apply_async/sessions.request_sync",
            "run/sessions.request_sync",
            "apply_async/syncs.sync",
            "run/syncs.sync",
        ]
        sync = next(span for span in spans if span.name == "run/syncs.sync")
        below = [_attributes(span) for span in spans if span.parent_span_id == sync.span_id]
        assert f"{jira.url}/rest/api/3/issue" in {span.get("http.url") for span in below}
        assert any("state = 'inflight'" in span.get("db.statement", "") for span in below)
        assert path_to(collector.trace_of("run/sessions.get_or_create"), "WITH") == [
            "POST /slack/events",
            "apply_async/sessions.get_or_create",
            "run/sessions.get_or_create",
            "WITH",
        ]
        everything = b"".join(collector.bodies)
        assert CANARY.encode() not in everything
        assert slack.token.encode() not in everything


def test_what_an_error_says_does_not_leave() -> None:
    """An exported span has the class of its error, and neither the error's text nor a query."""
    provider = TracerProvider()
    with provider.get_tracer("test").start_as_current_span("work") as span:
        span.record_exception(ValueError(f"{CANARY} plan"))
        span.set_status(Status(StatusCode.ERROR, f"{CANARY} plan"))
        span.set_attribute("http.url", f"https://jira.example.com/rest/api/3/search?jql={CANARY}")
    assert isinstance(span, ReadableSpan)
    shown = stripped(span)
    assert CANARY not in shown.to_json()
    assert shown.events[0].attributes == {"exception.type": "ValueError", "exception.escaped": "False"}
    assert (shown.status.status_code, shown.status.description) == (StatusCode.ERROR, None)


def _attributes(span: Span) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in span.attributes}


def test_a_batch_is_linked_to_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch's span links to the trace of each command that has one."""
    provider, seen = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    monkeypatch.setattr("worker.observe.tracing._provider", provider)
    traces = [f"{number:032x}" for number in (1, 2)]
    headers = [{"traceparent": f"00-{trace}-{1:016x}-01"} for trace in traces]
    with batch_span([*headers, {}, {"traceparent": "junk"}]):
        pass
    (span,) = seen.get_finished_spans()
    assert [f"{link.context.trace_id:032x}" for link in span.links] == traces


def test_off_is_off() -> None:
    """Without an exporter no instrumentation is imported."""
    code = (
        "import sys, worker.celery, worker.durable.batching;"
        "print([m for m in sys.modules if 'opentelemetry.instr' in m or 'opentelemetry.exp' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing packages for tracing raise InvalidSettings with what to install."""
    from threadsync.config import Settings

    monkeypatch.setattr("worker.observe.tracing._PACKAGES", ("opentelemetry.sdk", "opentelemetry.nowhere"))
    with pytest.raises(InvalidSettings, match=r"opentelemetry.nowhere: pip install 'threadsync\[otel\]'"):
        check_tracing(Settings(otel_traces_exporter="otlp"))
    check_tracing(Settings())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://acme.atlassian.net/rest/api/3/issue?x=secret",
            "https://acme.atlassian.net/rest/api/3/issue",
        ),
        (
            "https://user:secret@jira.example.com/rest/api/2/myself",
            "https://jira.example.com/rest/api/2/myself",
        ),
        ("https://slack.com/api/chat.postMessage", "https://slack.com/api/chat.postMessage"),
        ("https://hooks.slack.com/commands/T1/2/secret", "https://hooks.slack.com"),
        ("https://files.slack.com/files-pri/T1-F1/secret.pdf", "https://files.slack.com"),
        ("/slack/events?secret", "/slack/events"),
        ("/elsewhere/secret", ""),
    ],
)
def test_a_url_is_shown_by_its_place(url: str, shown: str) -> None:
    """A URL is shown without login, query and, for response URLs, without its path."""
    assert place_of(url) == shown

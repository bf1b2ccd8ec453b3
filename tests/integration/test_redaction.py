"""Redaction of people's text in events, `inspect`, logs, metrics, results and Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import httpx
import psycopg
import pytest

from sandbox.jira.faults import Refuse
from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import JiraSite
from tests.support.broker_contents import everything_in
from tests.support.command_runs import output, run_in
from tests.support.installation import Installation
from tests.support.servers import ask
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from threadsync import SessionClient
from threadsync.errors import CommandFailed, InvalidCommand
from threadsync.syncs import SyncState
from worker.db.pool import new_pool
from worker.db.syncs.store import SyncStore
from worker.local.servers.port import free_port

# Every text contains this word, so that a truncated line is found as well.
CANARY: Final = "ocelot"
TOKEN, EMAIL = "ocelot-token", "ocelot@example.com"
DRAFT = {"summary": "ocelot summary", "description": "ocelot *told*", "labels": ["ocelot-label"]}
REFUSAL = Refuse(400, ("ocelot summary is not wanted",), {"summary": "ocelot summary: no"})
LATER: dict[str, Any] = {"drafted_at": "1700000009.000100"}
A_WAIT = "60"


def thread(number: int) -> dict[str, Any]:
    return {"channel_id": "C1", "thread_ts": f"1700000000.{number:06}"}


def line(number: int) -> str:
    """Return the text that is shown in place of the draft."""
    return f"C1 / {thread(number)['thread_ts']} → a ticket"


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox(JiraSite(email=EMAIL, token=TOKEN)) as jira:
        yield jira


class Watcher:
    """An observer, as with Flower: collects all events and asks the workers what they do."""

    def __init__(self, installation: Installation, stack: ExitStack) -> None:
        self._control = installation.celery.control
        self.events: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        connection = stack.enter_context(installation.celery.connection_for_read())
        receiver = installation.celery.events.Receiver(connection, handlers={"*": self.events.append})
        self._connection, *_ = stack.enter_context(receiver.consumer_context())
        self.has_heard("nothing", "")  # kombu subscribes with the first look

    def has_heard(self, event_type: str, text: str) -> bool:
        """Return True if an event of this type with this text has arrived."""
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0.05)
        return any(event["type"] == event_type and text in str(event) for event in self.events)

    def sees(self, method: str, text: str) -> bool:
        """Return True if the result of ``inspect``'s ``method``, such as ``active``, has the text."""
        answer = getattr(self._control.inspect(timeout=1), method)()
        self.answers.append(answer)
        return text in str(answer)


def a_worker(installation: Installation, jira: JiraSandbox, metrics_port: int) -> WorkerGroup:
    """Start a worker that logs and exports as much as it can."""
    return installation.worker(
        "watched",
        *("--beat", "--schedule", str(installation.logs / "beat"), "--loglevel", "DEBUG"),
        LOG_LEVEL="DEBUG",
        SESSION_WAIT_SECONDS=A_WAIT,
        JIRA_URL=jira.url,
        JIRA_EMAIL=EMAIL,
        JIRA_API_TOKEN=TOKEN,
        JIRA_PROJECT_KEY="PROJ",
        METRICS_PORT=str(metrics_port),
    )


@contextmanager
def locked(installation: Installation, number: int) -> Iterator[None]:
    """Lock the session's row, so that a command on it hangs."""
    with psycopg.connect(installation.database_url) as connection:
        connection.execute(
            "SELECT FROM thread_sessions WHERE thread_ts = %s FOR UPDATE", [thread(number)["thread_ts"]]
        )
        yield


def states(installation: Installation) -> dict[UUID, SyncState]:
    with new_pool(installation.database_url) as pool:
        return {sync.session_id: sync for sync in SyncStore(pool).list_syncs()}


def dead_retry(installation: Installation, letter_id: UUID) -> None:
    """Run `threadsync dead retry` as an operator does."""
    output(run_in(installation.env, "dead", "retry", str(letter_id), "--reason", "try"))


def test_nobody_who_watches_sees_a_draft(installation: Installation, jira: JiraSandbox) -> None:
    """No word of a draft is visible, whether it is refused, made to wait, fails in Jira or is sent again.

    The text in its place names the thread and the purpose.
    """
    jira.site.fail("create", REFUSAL)
    with ExitStack() as stack:
        watcher = Watcher(installation, stack)
        port = free_port()
        worker = stack.enter_context(a_worker(installation, jira, port))
        installation.send("sessions.get_or_create", **thread(1), user_id="U1").get(timeout=10)

        # The command waits repeatedly, as its session does not exist yet.
        early = installation.send("sessions.request_sync", **thread(2), draft=DRAFT, **LATER)
        wait_until(lambda: watcher.sees("scheduled", line(2)), "it is seen while it waits", 20)
        wait_until(lambda: watcher.has_heard("task-retried", early.id), "its wait is told", 20)
        with locked(installation, 1):
            held = installation.send("sessions.request_sync", **thread(1), draft=DRAFT, **LATER)
            wait_until(lambda: watcher.sees("active", line(1)), "it is seen while it runs", 5)
            watcher.sees("reserved", "")
            watcher.answers.append(installation.celery.control.inspect().query_task(held.id, early.id))
        wait_until(lambda: watcher.has_heard("task-succeeded", held.id), "it has run", 20)
        wait_until(
            lambda: any(s.state == "failed" for s in states(installation).values()), "Jira refuses", 20
        )

        with SessionClient(installation.broker_url) as client:
            client.get_or_create(**thread(3), user_id="U1").get(timeout=10)
            client.request_sync(**thread(3), draft=DRAFT, **LATER).get(timeout=10)
        installation.send("sessions.get_or_create", **thread(2), user_id="U1")
        wait_until(lambda: watcher.has_heard("task-succeeded", early.id), "it has run, too", 20)

        wrong = {"summary": {CANARY: CANARY}, "labels": CANARY, "issue_type": [CANARY]}
        refused = installation.send("sessions.request_sync", **thread(4), draft=wrong, drafted_at=CANARY)
        positional = installation.send("sessions.request_sync", CANARY, **thread(4), draft=DRAFT, **LATER)
        patch = installation.send("channels.merge_context", channel_id="C1", patch=DRAFT, command_id=CANARY)
        plain = installation.send("probe.raise", CANARY)
        for result in (refused, positional, patch):
            with pytest.raises(InvalidCommand):
                result.get(timeout=10)
        with pytest.raises(CommandFailed):
            plain.get(timeout=10)
        letter = installation.dead_letter(lambda letter: letter.task_id == refused.id)
        assert CANARY in str(letter.arguments)
        before = len(installation.dead_letters())
        dead_retry(installation, letter.id)
        wait_until(lambda: len(installation.dead_letters()) == before, "it is a dead letter again", 20)

        with SessionClient(installation.broker_url) as client:
            for session_id, sync in states(installation).items():
                if sync.state == "failed":
                    client.retry_sync(session_id, "ada", f"{CANARY} was taken out").get(timeout=20)
        wait_until(lambda: len(states(installation)) == 3, "three have asked")
        wait_until(
            lambda: {session.status for session in installation.sessions()} == {"synced"},
            "all are synced",
            60,
        )
        wait_until(lambda: watcher.has_heard("task-failed", refused.id), "the failure is told")
        for number in (1, 2, 3):
            assert watcher.has_heard("task-received", line(number))
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        worker.stop()
        log = worker.log
    assert "(not shown)" in str(watcher.events)
    assert len(jira.site.issues) == 3
    assert CANARY in str(jira.site.issues), "what was sent has arrived where it belongs"
    assert "task done" in log
    assert 'answer="Rejected"' in metrics
    seen = {
        "events": json.dumps(watcher.events, default=str),
        "inspect": str(watcher.answers),
        "log": log,
        "metrics": metrics,
        "Valkey": everything_in(installation.broker_url),
    }
    leaks = {place: context(text) for place, text in seen.items() if CANARY in text}
    assert leaks == {}
    assert ask(installation.database_url, "SELECT count(*) FROM dead_letters") == before + 1


def context(text: str) -> list[str]:
    """Return the word's first places with their surroundings, for the failure message."""
    places = [place for place in range(len(text)) if text.startswith(CANARY, place)]
    return [text[max(0, place - 300) : place + 100] for place in places[:5]]

"""Lookups in Jira that a user waits for: queue `lookups`, real workers, a Jira on localhost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
import redis

from sandbox.jira.faults import DropBeforeCommit, Hang, Refuse, Status
from sandbox.jira.issues import Draft
from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.actors import NamedActor, SlackActor
from threadsync.errors import JiraKeyConflict
from threadsync.lookup_commands import AccountLookup, DraftLookup, FormFieldsLookup
from worker.db.pool import new_pool
from worker.db.syncs.store import SyncStore

ANN = SlackActor(user_id="U0456", team_id="T0123")
BEN = SlackActor(user_id="U0789", team_id="T0123")
ELSEWHERE = SlackActor(user_id="U0456", team_id="T0999")
ADDRESS = "tulip-4711@example.com"
CHANNEL = "C0123"
HANGS = Hang(60, committed=False)


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        jira.site.commit(Draft("PROJ", "Task", "One"))
        jira.site.commit(Draft("PROJ", "Task", "Two"))
        yield jira


@pytest.fixture
def client(installation: Installation) -> Iterator[SessionClient]:
    with SessionClient(installation.broker_url) as client:
        yield client


def worker(installation: Installation, jira: JiraSandbox, **env: str) -> Any:
    return installation.worker(
        "lookups",
        *("--queues", "sessions,lookups"),
        JIRA_URL=jira.url,
        JIRA_EMAIL=jira.email,
        JIRA_API_TOKEN=jira.token,
        JIRA_PROJECT_KEY="PROJ",
        JIRA_TIMEOUT_SECONDS="2",
        LOG_FORMAT="json",
        **env,
    )


def test_a_thread_is_linked_to_what_jira_knows_and_to_nothing_else(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """A lookup links the key that Jira has now; an unknown, failed or refused one links nothing."""
    jira.site.projects["OTHER"] = "10099"
    moved = jira.site.move("PROJ-2", "OTHER").key
    with worker(installation, jira):
        thread = "1700000000.000100"
        client.get_or_create(CHANNEL, thread, "U0456").get(20)

        def outcome(key: str) -> str:
            return client.jira_link(CHANNEL, thread, key, ANN).get(20).outcome

        assert outcome("FAKE-999999") == "no_such_ticket"
        jira.site.fail("get", DropBeforeCommit())
        assert outcome("PROJ-1") == "no_answer"
        jira.site.fail("get", Status(503))
        assert outcome("PROJ-1") == "no_answer"
        jira.site.fail("get", Refuse(403, ("no",)))
        assert outcome("PROJ-1") == "refused"
        jira.stop()
        assert outcome("PROJ-1") == "no_answer"
        jira.start()
        assert [session.jira_key for session in installation.sessions()] == [None]

        asked = client.jira_link(CHANNEL, thread, "PROJ-2", ANN)
        known = asked.get(20)
        assert (known.outcome, known.jira_key) == ("sent", moved)
        linked = client.linked(asked).get(20)
        assert (linked.outcome, linked.jira_key) == ("applied", moved)
        assert installation.dead_letters() == []

        refused = client.jira_link(CHANNEL, thread, "PROJ-1", ANN)
        assert refused.get(20).outcome == "sent"
        with pytest.raises(JiraKeyConflict):
            client.linked(refused).get(20)
    with new_pool(installation.database_url) as pool:
        (act,) = SyncStore(pool).actions(linked.id)
    assert (act.action, act.by, act.jira_key) == ("link", "U0456 of T0123 in Slack", moved)


def test_a_question_that_waited_too_long_is_dropped(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """A lookup that waited too long is dropped unasked, and a new one is carried out."""
    thread = "1700000000.000100"
    client.get_or_create(CHANNEL, thread, "U0456")
    command_id = uuid4()
    client.jira_link(CHANNEL, thread, "PROJ-1", ANN, command_id)
    with redis.Redis.from_url(installation.broker_url) as broker:
        raw = json.loads(cast(bytes, broker.rpop("lookups")))
        raw["headers"]["sent_at"] -= 11
        broker.lpush("lookups", json.dumps(raw))
    with worker(installation, jira) as running:
        wait_until(lambda: "question dropped" in running.log, "the old question is dropped", timeout=30)
        assert client.jira_link(CHANNEL, thread, "PROJ-2", ANN).get(20).outcome == "sent"
        wait_until(lambda: installation.sessions()[0].jira_key == "PROJ-2", "the new one is carried out")
        assert len([call for call in jira.site.calls if call.endpoint == "get"]) == 1
        assert installation.dead_letters() == []


def test_a_question_of_a_worker_that_dies_is_not_asked_again(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """A lookup whose worker dies is not repeated, because it was acknowledged at its begin."""
    jira.site.plan = lambda endpoint, body: HANGS if endpoint == "get" else None
    running = worker(installation, jira)
    with running:
        client.jira_link(CHANNEL, "1700000000.000100", "PROJ-1", ANN)
        wait_until(lambda: jira.site.calls, "Jira is asked", timeout=30)
        for child in running.children:
            child.kill()
        wait_until(lambda: installation.waiting() == 0, "nothing waits")
        jira.site.plan = None
        client.get_or_create(CHANNEL, "1700000000.000100", "U0456").get(20)
        assert client.jira_link(CHANNEL, "1700000000.000100", "PROJ-2", ANN).get(20).outcome == "sent"
        assert len([call for call in jira.site.calls if call.endpoint == "get"]) == 2
        assert installation.dead_letters() == []


def test_the_fields_of_a_form_come_from_jira(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """A form's fields are those of the project's create screen; what Jira does not say is an outcome."""
    with worker(installation, jira):
        found = client.enqueue(FormFieldsLookup()).get(20)
        assert (found.outcome, found.project_key) == ("known", "PROJ")
        assert "summary" in {item.id for item in found.fields}
        assert found.issue_type in {item.id for item in found.issue_types}
        assert client.enqueue(FormFieldsLookup(project_key="NONE")).get(20).outcome == "no_such_project"
        jira.stop()
        assert client.enqueue(FormFieldsLookup(project_key="PROJ")).get(20).outcome == "no_answer"
        jira.start()
    assert installation.dead_letters() == []


def test_a_draft_is_for_its_requester_alone(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """A draft is found by the person of Slack who wrote it, and its result can be deleted once it is read."""
    thread = "1700000000.000100"
    with worker(installation, jira):
        client.get_or_create(CHANNEL, thread, "U0456").get(20)
        draft = {"summary": "It broke", "labels": ["mobile"]}
        asked = client.request_sync(CHANNEL, thread, draft, "1700000100.000100", actor=ANN).get(20)
        handle = client.enqueue(DraftLookup(session_id=asked.id, actor=ANN))
        found = handle.get(20)
        assert (found.outcome, found.channel_id, found.thread_ts) == ("found", CHANNEL, thread)
        assert found.draft
        assert (found.draft.summary, found.draft.labels) == ("It broke", ("mobile",))
        assert found.refused == {}
        key = f"celery-task-meta-{handle.task_id}"
        with redis.Redis.from_url(installation.broker_url) as broker:
            assert broker.exists(key) == 1
            handle.forget()
            assert broker.exists(key) == 0
        others = (BEN, ELSEWHERE, NamedActor(name="U0456", via="cli"))
        for session_id, actor in [*((asked.id, actor) for actor in others), (uuid4(), ANN)]:
            other = client.enqueue(DraftLookup(session_id=session_id, actor=actor)).get(20)
            assert (other.outcome, other.draft) == ("none", None)


def test_an_address_is_in_no_message_and_no_log(
    installation: Installation, jira: JiraSandbox, client: SessionClient
) -> None:
    """The e-mail address by which Jira knows a person is with the worker alone, for that moment."""
    with SlackSandbox() as slack:
        slack.workspace.people["U0456"] = {"profile": {"email": ADDRESS}}
        env = {"SLACK_BOT_TOKEN": slack.token, "SLACK_API_URL": slack.api_url, "LOG_LEVEL": "DEBUG"}
        with worker(installation, jira, **env) as running:
            found = client.enqueue(AccountLookup(user_id="U0456")).get(20)
            assert found.outcome in ("known", "unknown", "no_answer")
            slack.workspace.people["U0456"] = {"profile": {}}
            assert client.enqueue(AccountLookup(user_id="U0456")).get(20).outcome == "unknown"
            assert ADDRESS not in running.log
            assert "tulip" not in running.log
            with redis.Redis.from_url(installation.broker_url) as broker:
                stored = [broker.dump(key) or b"" for key in broker.scan_iter("*")]
    assert not any(b"tulip" in cast(bytes, item) for item in stored)

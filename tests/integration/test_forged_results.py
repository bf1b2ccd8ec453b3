"""Forged values in the result backend, which raise an error of ours that quotes none of the value."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from sandbox.slack.requests import slash_command
from tests.support.slack_app import CHANNEL, THREAD, USER, running_app
from threadsync import AsyncSessionClient, SessionClient, errors
from threadsync.errors import CommandFailed, JiraKeyConflict, ThreadsyncError, UnreadableResult
from threadsync.reply_commands import SayReply

SECRET = "xoxb-secret-word"
SESSION = {
    "id": str(uuid4()),
    "channel_id": "C1",
    "thread_ts": "1.1",
    "user_id": "U1",
    "status": "collecting",
    "jira_key": None,
    "created_at": "2026-11-29T00:00:00Z",
    "updated_at": "2026-11-29T00:00:00Z",
    "outcome": "created",
}


def success(result: Any) -> bytes:
    return json.dumps({"status": "SUCCESS", "result": result, "traceback": None, "children": []}).encode()


def failure(kind: Any, message: Any, module: Any = "threadsync.errors") -> bytes:
    result = {"exc_type": kind, "exc_message": message, "exc_module": module}
    return json.dumps({"status": "FAILURE", "result": result, "traceback": SECRET}).encode()


UNREADABLE: dict[str, bytes] = {
    "no JSON": SECRET.encode(),
    "bytes": bytes(range(256)),
    "a pickle": pickle.dumps({"status": "SUCCESS", "result": SECRET}),
    "a list": json.dumps([SECRET]).encode(),
    "a word": json.dumps(SECRET).encode(),
    "a number": b"7",
    "no status": json.dumps({"result": SECRET}).encode(),
    "a status of another type": json.dumps({"status": [SECRET], "result": 1}).encode(),
    "nested deep": b"[" * 100_000 + b"]" * 100_000,
    "a result nested deep": b'{"status": "SUCCESS", "result": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    "a number of many digits": b'{"status": "SUCCESS", "result": ' + b"9" * 10_000 + b"}",
    "a type of kombu's that is none": success({"__type__": "datetime", "__value__": SECRET}),
    "a type that nobody has": success({"__type__": "uuid", "__value__": {"hex": SECRET}}),
    "a word in place of a session": success(SECRET),
    "a list in place of a session": success([SECRET]),
    "nothing in place of a session": success(None),
    "members of other types": success({**SESSION, "thread_ts": {SECRET: 1}, "created_at": [SECRET]}),
    "a key with markup": success({**SESSION, "status": "synced", "jira_key": f"<!channel|{SECRET}>"}),
    "an outcome that there is not": success({**SESSION, "outcome": SECRET}),
    "a failure that is text": json.dumps({"status": "FAILURE", "result": f"Traceback: {SECRET}"}).encode(),
    "a failure of nothing": json.dumps({"status": "FAILURE", "result": None}).encode(),
    "a huge one": success("x" * 17_000_000),
}
FAILURES: dict[str, bytes] = {
    "somebody else's class": failure("ValueError", [SECRET], "builtins"),
    "one that ends processes": failure("SystemExit", [SECRET], "builtins"),
    "a class that is none": failure("run", [SECRET], "subprocess"),
    "a class without a name": failure({"a": SECRET}, [SECRET], [SECRET]),
    "a name with a line's end": failure(f"a\n{SECRET}", [], "builtins"),
    "ours with other arguments": failure("JiraKeyConflict", [SECRET]),
    "ours with markup": failure("JiraKeyConflict", ["C1", "1.1", f"<!channel>{SECRET}", "PROJ-1"]),
    "ours with an object": failure("InvalidCommand", [{"a": SECRET}]),
    "ours with too many": failure("SessionNotFound", ["C1", "1.1", SECRET]),
    "what is none of our errors": failure("as_ours", [SECRET]),
    "no arguments at all": failure("CommandFailed", SECRET.split("-")),
}


@pytest.fixture
def client(broker_url: str) -> Iterator[SessionClient]:
    with SessionClient(broker_url, broker_url) as client:
        yield client


def put(broker_url: str, task_id: str, value: bytes) -> None:
    with redis.Redis.from_url(broker_url) as backend:
        backend.set(f"celery-task-meta-{task_id}", value)


def refused(client: SessionClient, broker_url: str, value: bytes) -> ThreadsyncError:
    """Return the error that a waiting client gets, after a check that it quotes nothing of the value."""
    handle = client.get_or_create("C1", "1.1", "U1")
    put(broker_url, handle.task_id, value)
    with pytest.raises(ThreadsyncError) as caught:
        handle.get(timeout=10)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert len(str(caught.value)) < 1_000
    assert type(caught.value).__module__ == errors.__name__
    return caught.value


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_result_is_said_to_be_none(client: SessionClient, broker_url: str, kind: str) -> None:
    """A value that is no result raises UnreadableResult at once."""
    assert isinstance(refused(client, broker_url, UNREADABLE[kind]), UnreadableResult)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_that_is_not_ours_is_named(client: SessionClient, broker_url: str, kind: str) -> None:
    """A stored failure of a foreign class raises CommandFailed, and no class is looked up by its name."""
    assert isinstance(refused(client, broker_url, FAILURES[kind]), CommandFailed)


def test_a_key_of_another_type(client: SessionClient, broker_url: str) -> None:
    """A key of another type in the result backend raises UnreadableResult."""
    handle = client.get_or_create("C1", "1.1", "U1")
    with redis.Redis.from_url(broker_url) as backend:
        backend.rpush(f"celery-task-meta-{handle.task_id}", SECRET)
    with pytest.raises(UnreadableResult):
        handle.get(timeout=10)


def test_an_error_of_ours_comes_as_it_was_raised(client: SessionClient, broker_url: str) -> None:
    """A stored error of ours is raised as its own class with its arguments."""
    error = refused(client, broker_url, failure("JiraKeyConflict", ["C1", "1.1", "PROJ-1", "PROJ-2"]))
    assert isinstance(error, JiraKeyConflict)
    assert error.jira_key == "PROJ-1"


def test_a_status_of_a_newer_release_is_no_fault(client: SessionClient, broker_url: str) -> None:
    """A page with a session of unknown status is read whole, and that session names the unreadable field."""
    handle = client.list_by_channel("C1")
    session = {name: value for name, value in SESSION.items() if name != "outcome"}
    newer = {**session, "status": "archived", "mood": "fine"}
    put(broker_url, handle.task_id, success({"sessions": [newer, session], "next_cursor": None}))
    archived, known = handle.get(timeout=10).sessions
    assert (archived.status, archived.unreadable, archived.id) == ("archived", ("status",), known.id)
    assert known.unreadable == ()


def test_a_waiting_reply_is_no_exception(client: SessionClient, broker_url: str) -> None:
    """A forged result of the command to post a first reply raises UnreadableResult."""
    command = SayReply(
        session_id=str(uuid4()), channel_id="C1", thread_ts="1.1", text="hello", blocks=[], since=1.0
    )
    handle = client.enqueue(command)
    put(broker_url, handle.task_id, success(SECRET))
    with pytest.raises(UnreadableResult) as caught:
        handle.get(timeout=10)
    assert SECRET not in str(caught.value)


class Forging(AsyncSessionClient):
    """A client whose results are forged right after each command is sent."""

    def __init__(self, broker_url: str, value: bytes) -> None:
        super().__init__(broker_url, broker_url)
        self._url, self._value = broker_url, value

    async def enqueue(self, command: Any, *, task_id: str | None = None) -> Any:
        handle = await super().enqueue(command, task_id=task_id)
        put(self._url, handle.task_id, self._value)
        return handle


@pytest.mark.parametrize("value", [*list(UNREADABLE.values())[:4], *FAILURES.values()])
async def test_the_answer_in_slack_is_a_sentence(broker_url: str, value: bytes) -> None:
    """A slash command with a forged result gets a sentence of ours without markup or secret."""
    async with running_app(Forging(broker_url, value)) as app:
        answer = await app.deliver(slash_command(f"status {THREAD}", CHANNEL, USER))
    assert answer.status_code == 200
    text = answer.json()["text"]
    assert text.endswith(".")
    assert SECRET not in text
    assert "<!" not in text

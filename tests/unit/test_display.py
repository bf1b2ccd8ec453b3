"""Redaction of any sender's messages, results and errors: threads are shown, no person and no word."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, Final

import flower.events  # type: ignore[import-untyped]
import pytest
from celery.events.receiver import EventReceiver

from threadsync.commands import GetOrCreate, MarkSynced
from threadsync.sync_commands import RetrySync
from worker.durable.event_receiver import RedactingReceiver
from worker.durable.redaction import NOT_SHOWN, shown, shown_by_flower, shown_of_an_end, shown_unseen

THREAD: Final = {"channel_id": "C1", "thread_ts": "1.000100"}
OPENED: Final = {**THREAD, "user_id": "U0OCELOT"}
SESSION: Final = "0190cb6e-0000-7000-8000-00000000000a"


@pytest.mark.parametrize(
    "said", [None, "", "ocelot", "C1 / 1.000100 ocelot", "C1 / 1.000100 → ocelot", "C1", "{'a': 1}", 7]
)
def test_a_senders_line_is_shown_only_if_it_is_ours(said: Any) -> None:
    """A sender's line is replaced by the command's own unless it is the same."""
    assert shown(GetOrCreate, (), OPENED, "('ocelot',)", said) == ("()", "C1 / 1.000100")


def test_our_own_lines_stay() -> None:
    """The lines of our own clients are shown, without the person who retries."""
    linked: dict[str, Any] = {**THREAD, "jira_key": "PROJ-1"}
    line = MarkSynced(**linked).summary()
    assert shown(None, (), linked, "()", line)[1] == line == "C1 / 1.000100 → synced as PROJ-1"
    retried = RetrySync(session_id=SESSION, actor="ocelot", reason="ocelot")
    assert retried.summary() == shown(RetrySync, [], retried.arguments(), None, None)[1] == SESSION


@pytest.mark.parametrize(
    "kwargs",
    [{"channel_id": "an ocelot"}, {"channel_id": ["ocelot"]}, {"session_id": "an ocelot"}, ["ocelot"]],
)
def test_arguments_that_are_none_are_not_shown(kwargs: Any) -> None:
    """Arguments that are not a command's are not shown, also where the sender describes them."""
    said = next(iter(kwargs.values())) if isinstance(kwargs, dict) else "ocelot"
    assert shown(GetOrCreate, ["ocelot"], kwargs, "ocelot", said) == (NOT_SHOWN, NOT_SHOWN)


def test_what_is_sent_without_a_word_is_not_shown() -> None:
    """Arguments that come without a description, which Celery would show in full, are not shown."""
    assert shown_unseen((), {}) == ("()", "{}")
    assert shown_unseen(("ocelot",), {"a": "ocelot"}) == (NOT_SHOWN, NOT_SHOWN)


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        ("SessionNotFound('C1', '1.000100')", "SessionNotFound('C1', '1.000100')"),
        ("CommandFailed('ValueError: ocelot')", "CommandFailed('(not shown)')"),
        ("ValueError('ocelot')", "ValueError('(not shown)')"),
        ("an ocelot", "Exception('(not shown)')"),
        ("WorkerLostError('Worker exited')", "WorkerLostError('Worker exited')"),
    ],
)
def test_only_our_own_errors_tell_why(exception: str, told: str) -> None:
    """An error that is not ours is shown by its class alone, because it may quote a user's text."""
    plain = SimpleNamespace(__module__="app.tasks")
    fields = shown_of_an_end(plain, {"exception": exception, "traceback": "…", "runtime": 1})
    assert fields["exception"] == told
    assert fields["traceback"] == (NOT_SHOWN if NOT_SHOWN in told else "…")


def test_a_plain_tasks_result_is_not_shown() -> None:
    """The result of a task that is not ours is not shown."""
    told = {"result": "ocelot", "runtime": 1}
    assert shown_of_an_end(SimpleNamespace(__module__="app.tasks"), told)["result"] == NOT_SHOWN
    assert shown_of_an_end(SimpleNamespace(__module__="tasks.syncs"), told) == told


@pytest.mark.parametrize("line", ["()", "{}", "C1 / 1.000100", "C1 → C2", "C1 / 1.1 → a ticket", SESSION])
def test_flower_takes_lines_without_people(line: str) -> None:
    assert shown_by_flower({"type": "task-sent", "kwargs": line})["kwargs"] == line


@pytest.mark.parametrize("text", ["{'user_id': 'U0OCELOT'}", "U0OCELOT", "an ocelot", "C1 / 1.1 → ocelot", 7])
def test_flower_takes_nothing_else(text: Any) -> None:
    """Flower shows nothing of a stock client's arguments."""
    event = {"type": "task-sent", "uuid": "1", "args": text, "kwargs": text}
    assert shown_by_flower(event) == {**event, "args": NOT_SHOWN, "kwargs": NOT_SHOWN}


def test_flower_makes_its_receiver_by_the_name_that_we_replace() -> None:
    """Flower makes its receiver by the name that worker/operate/flower_conf.py replaces."""
    assert vars(flower.events)["EventReceiver"] in (EventReceiver, RedactingReceiver)
    assert "EventReceiver(" in inspect.getsource(flower.events.Events.run)
    assert "event_from_message" in vars(EventReceiver)
    assert "self.event_from_message" in inspect.getsource(vars(EventReceiver)["_receive"])

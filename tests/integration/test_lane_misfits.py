"""Commands that do not fit the fast lane, sent to workers with and without it: the effects are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import redis

from tests.support.backlogs import Listener, thread, without_names
from tests.support.installation import Installation, install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync.dead_letters import DeadLetter

COMMAND: Final = "sessions.get_or_create"
LONG_TEXT: Final = "It burns. " * 2000
"""Longer than what TAKE picks for the lane."""

Sending = Callable[[Installation, str, dict[str, Any]], None]


def by_client(**options: Any) -> Sending:
    """Send by a stock client with these options of ``send_task``; one that is callable gets the app."""

    def send(installation: Installation, task_id: str, where: dict[str, Any]) -> None:
        app = installation.celery
        given = {name: value(app, where) if callable(value) else value for name, value in options.items()}
        message = {"args": (), "kwargs": {**where, "user_id": "U1"}, "queue": "sessions", **given}
        app.send_task(message.pop("task", COMMAND), task_id=task_id, **message)

    return send


def by_hand(change: Callable[[dict[str, Any]], None]) -> Sending:
    """Send a stock client's message after a change of it."""

    def send(installation: Installation, task_id: str, where: dict[str, Any]) -> None:
        by_client(queue="drafts")(installation, task_id, where)
        with redis.Redis.from_url(installation.broker_url) as server:
            _, raw = server.brpop(["drafts"], timeout=5)
            message = json.loads(raw)
            change(message)
            server.lpush("sessions", json.dumps(message))

    return send


def twice(installation: Installation, task_id: str, where: dict[str, Any]) -> None:
    for _ in range(2):
        by_client()(installation, task_id, where)


def soon(seconds: float) -> Callable[[Any, Any], datetime]:
    return lambda _app, _where: datetime.now(UTC) + timedelta(seconds=seconds)


def reading(app: Any, where: dict[str, Any]) -> Any:
    """Return the signature of a command that may follow."""
    return app.signature("sessions.get", kwargs=where, queue="sessions", immutable=True)


def reading_many(app: Any, where: dict[str, Any]) -> list[Any]:
    return [reading(app, where)]


def positional(_app: Any, where: dict[str, Any]) -> list[Any]:
    return [*where.values(), "U1"]


def header(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda message: message["headers"].update({name: value})


MISFITS: dict[str, Sending] = {
    "due a moment ago": by_client(eta=soon(-1)),
    "expires in an hour": by_client(expires=soon(3600)),
    "expired": by_client(expires=soon(-1)),
    "retried by its client": by_client(retries=1),
    "of a group": by_client(group_id="a group", group_index=0),
    "with a parent": by_client(parent_id="a parent", root_id="a root"),
    "shown under another name": by_client(shadow="another"),
    "with time limits": by_client(time_limit=60, soft_time_limit=50),
    "stamped": by_client(headers={"stamped_headers": ["team"], "stamps": {"team": "a"}}),
    "of a tenant": by_client(headers={"x-tenant": "a"}),
    "compressed": by_client(compression="zlib"),
    "with positional arguments": by_client(args=positional, kwargs={}),
    "with a callback": by_client(link=reading_many),
    "with a callback for errors": by_client(link_error=reading_many),
    "at the head of a chain": by_client(chain=reading_many),
    "of another priority": by_client(priority=3),
    "with a result to ignore": by_client(ignore_result=True),
    "shown as its sender says": by_client(kwargsrepr="{'what': 'is shown'}"),
    "another command": by_client(task="sessions.get", kwargs=lambda _app, where: where),
    "a foreign task": by_client(task="of.tomorrow"),
    "invalid": by_client(kwargs={"channel_id": "", "thread_ts": "1.1", "user_id": "U1"}),
    "without its session": by_client(
        task="sessions.update_status", kwargs=lambda _app, where: {**where, "status": "ready_to_sync"}
    ),
    "large": by_client(
        task="sessions.request_sync",
        kwargs=lambda _app, where: {
            **where,
            "draft": {"summary": "Printer on fire", "description": LONG_TEXT},
            "drafted_at": "1700000100.000100",
        },
    ),
    "twice under one id": twice,
    "redelivered": by_hand(lambda message: message["properties"]["delivery_info"].update(redelivered=True)),
    "a body without base64": by_hand(
        lambda message: message.update(body=json.dumps([[], {"channel_id": "C1"}, {}]))
    ),
    "another type of content": by_hand(lambda message: message.update({"content-type": "text/plain"})),
    "a history of pauses": by_hand(header("threadsync", {"pauses": 1})),
    "no headers": by_hand(lambda message: message.update(headers={})),
    "an id that is no text": by_hand(header("id", 7)),
}
"""How to send a command of each kind that the lane leaves over; each has a thread of its own."""


def task_id_of(kind: str) -> str:
    return f"{kind.replace(' ', '-')}-1"


def is_of(letter: DeadLetter, task_id: str, thread_ts: str) -> bool:
    """Return True for the dead letter of this command, whose id may be unreadable."""
    body = (letter.body or b"").decode()
    return letter.task_id == task_id or task_id in body or thread_ts in body


def told_of(installation: Installation, name: str, is_open: bool) -> dict[str, Any]:
    """Send all kinds among plain commands; return what is told of each."""
    plain = []
    for number, (kind, send) in enumerate(MISFITS.items(), 1):
        send(installation, task_id_of(kind), thread(number))
        plain.append(installation.send(COMMAND, **thread(1000 + number), user_id="U1"))
    with ExitStack() as stack:
        listener = Listener(installation, stack)
        worker = stack.enter_context(
            installation.worker(name, FAST_LANE=str(is_open).lower(), LOG_FORMAT="json")
        )
        assert {result.get(timeout=30)["outcome"] for result in plain} == {"created"}
        wait_until(lambda: installation.waiting() == 0, "all have ended", 30)
        server = stack.enter_context(redis.Redis.from_url(installation.broker_url))
        told: dict[str, Any] = {}
        for kind in MISFITS:
            task_id = task_id_of(kind)
            stored = json.loads(server.get(f"celery-task-meta-{task_id}") or "null")
            told[kind] = {"events": listener.of(task_id), "stored": stored}
        assert worker.is_alive
        worker.stop()
        assert ("the fast lane is closed" in worker.log) is not is_open
        lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    letters = installation.dead_letters()
    sessions = {session.thread_ts for session in installation.sessions()}
    for number, (kind, found) in enumerate(told.items(), 1):
        task_id, thread_ts = task_id_of(kind), thread(number)["thread_ts"]
        # How often a command waits before it fails is a matter of time.
        found["log"] = sorted({line["event"] for line in lines if line.get("task_id") == task_id})
        found["letters"] = [letter.error_type for letter in letters if is_of(letter, task_id, thread_ts)]
        found["is opened"] = thread_ts in sessions
    return told


@pytest.fixture(scope="module")
def roads(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is told of each kind with the lane, and without it."""
    told = []
    for is_open in (True, False):
        name = "lane" if is_open else "road"
        with install(postgres, valkey, tmp_path_factory.mktemp(name)) as installation:
            told.append(told_of(installation, name, is_open))
    return told[0], told[1]


@pytest.mark.parametrize("kind", MISFITS)
def test_a_misfit_ends_as_without_the_lane(roads: tuple[dict[str, Any], dict[str, Any]], kind: str) -> None:
    """A command that does not fit has the same row, result, events, log and dead letters on both roads."""
    lane, road = (without_names(told[kind]) for told in roads)
    assert lane == road


def test_every_kind_leaves_a_trace(roads: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """No kind vanishes: each opens a session, stores a result, or makes a dead letter."""
    for kind, told in roads[0].items():
        assert told["is opened"] or told["stored"] or told["letters"], (kind, told)

"""Remote control: questions and revoking allowed, changes refused, junk harmless."""

from __future__ import annotations

import base64
import json
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.installation import Installation
from tests.support.waiting import wait_until

CHANGES: Final[dict[str, dict[str, Any]]] = {
    "pool_grow": {"n": 1},
    "pool_shrink": {"n": 1},
    "pool_restart": {},
    "autoscale": {"max": 9, "min": 9},
    "rate_limit": {"task_name": "sessions.get", "rate_limit": "1/h"},
    "time_limit": {"task_name": "sessions.get", "soft": 1e-9, "hard": 1e-9},
    "add_consumer": {"queue": "of-others"},
    "cancel_consumer": {"queue": "sessions"},
    "disable_events": {},
    "shutdown": {},
    "terminate": {"signal": "KILL", "task_id": ["x"]},
    "revoke": {"task_id": ["x"], "terminate": True},
    "revoke_by_stamped_headers": {"headers": {"x": "y"}},
    "election": {"id": "1", "topic": "task", "action": {"task": "sessions.get"}},
    "objgraph": {},
}


def said(**parts: Any) -> bytes:
    """Return a message of kombu's with the named parts replaced."""
    body = parts.pop("body", {"method": "ping", "arguments": {}, "destination": None})
    whole = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": 0},
        "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}, "priority": 0},
        **parts,
    }
    return json.dumps(whole).encode()


ANSWER: Final = {"exchange": "reply.celery.pidbox", "routing_key": "no-one-listens"}
_NO_COMMANDS: Final[tuple[Any, ...]] = (5, None, [], "x", [[]], {"method": 5}, {"method": ["ping"]})
JUNK: Final = {
    **{
        f"no message: {text[:20]!r}": text
        for text in (b"5", b"[]", b"{}", b"null", b'"x"', b"\xff", b"[" * 100_000)
    },
    "too large": b"[" + b"1," * 1_000_000 + b"1]",
    "marked": b'{"__type__": "bytes", "__value__": 5}',
    "no number": b'{"__type__": "decimal", "__value__": "x"}',
    "no properties": said(properties=None),
    "no tag": said(properties={}),
    "headers a list": said(headers=["clock"]),
    "another encoding": said(properties={"body_encoding": [1], "delivery_tag": 1}),
    "yaml": said(**{"content-type": "application/x-yaml"}),
    "a bomb by its encoding": said(**{"content-type": "application/text", "content-encoding": "bz2"}),
    "compressed by nothing": said(headers={"compression": [1]}),
    "a clock": said(headers={"clock": "x"}),
    "a clock beyond all": said(headers={"clock": float("inf")}),
    **{f"body: {body!r}": said(body=body) for body in _NO_COMMANDS},
    "arguments a list": said(body={"method": "ping", "arguments": [1]}),
    "unknown arguments": said(body={"method": "ping", "arguments": {"x": 1}}),
    "no such command": said(body={"method": "no such command", "arguments": {}}),
    "self": said(body={"method": "ping", "self": 1, "state": 2}),
    "destination a number": said(body={"method": "ping", "destination": 5}),
    "a pattern that takes hours": said(
        body={"method": "ping", "pattern": "(.+)+[^a-z0-9@_.-]{1}x", "matcher": "pcre"}
    ),
    "no matcher": said(body={"method": "ping", "pattern": "*", "matcher": [1]}),
    "an answer to nowhere": said(body={"method": "ping", "reply_to": 5, "ticket": [1]}),
    "an answer to a queue of ours": said(
        body={
            "method": "ping",
            "reply_to": {"exchange": "sessions", "routing_key": "sessions"},
            "ticket": "t",
        }
    ),
    "an answer that is not waited for": said(body={"method": "ping", "reply_to": ANSWER, "ticket": "t"}),
    "revoked: a number": said(body={"method": "revoke", "arguments": {"task_id": 5}}),
    "revoked: lists": said(body={"method": "revoke", "arguments": {"task_id": [["x"]]}}),
    "hello": said(body={"method": "hello", "arguments": {"from_node": "x", "revoked": {"a": ["b"]}}}),
}


def channels(installation: Installation) -> list[str]:
    """Return the channels of remote control and of workers' own events."""
    database = installation.broker_url.rpartition("/")[2]
    return [
        f"/{database}.celery.pidbox",
        *(f"/{database}.celeryev/worker.{kind}" for kind in ("heartbeat", "x")),
    ]


def test_no_junk_ends_a_worker(shared: Installation) -> None:
    """Junk on the channels of remote control leaves workers responsive and able to run commands."""
    with redis.Redis.from_url(shared.broker_url) as broker:
        for payload in JUNK.values():
            for channel in channels(shared):
                broker.publish(channel, payload)
        wait_until(lambda: shared.celery.control.ping(timeout=1), "remote control is answered")
        # A reply to a forged address could have landed in this queue.
        assert broker.llen("sessions") == 0
    assert shared.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None
    assert shared.dead_letters() == []


@pytest.mark.parametrize("command", CHANGES)
def test_what_changes_a_worker_is_refused(shared: Installation, command: str) -> None:
    """A remote command that changes a worker is refused, with the setting that would allow it."""
    replies: Any = shared.celery.control.broadcast(
        command, arguments=CHANGES[command], reply=True, timeout=5, limit=1
    )
    ((node, reply),) = replies[0].items()
    assert node.startswith("worker@")
    assert "REMOTE_CONTROL_CHANGES=true" in reply["error"]


def test_questions_are_answered(shared: Installation) -> None:
    """Questions by remote control are answered, under their new names and Flower's old ones."""
    inspect = shared.celery.control.inspect(timeout=5, limit=1)
    answers = {
        name: getattr(inspect, name)()
        for name in (
            "ping",
            "stats",
            "active_queues",
            "registered",
            "scheduled",
            "active",
            "reserved",
            "revoked",
            "conf",
        )
    }
    assert all(answers.values()), answers
    assert shared.celery.control.broadcast("dump_tasks", reply=True, timeout=5, limit=1)
    replies: Any = shared.celery.control.revoke(["a", "b"], reply=True, timeout=5, limit=1)
    (reply,) = replies
    assert "flagged as revoked" in str(reply)


def test_no_answer_has_a_password(shared: Installation) -> None:
    """No response of remote control has the broker's password."""
    password = urlsplit(shared.broker_url).password
    assert password
    for question in ("conf", "report", "stats", "hello"):
        arguments = {"from_node": "x"} if question == "hello" else {}
        replies: Any = shared.celery.control.broadcast(
            question, arguments=arguments, reply=True, timeout=5, limit=1
        )
        assert password not in str(replies), question
    answer: Any = shared.celery.control.inspect(timeout=5, limit=1).conf()
    (told,) = answer.values()
    assert told["broker_read_url"].startswith("redis://********@")


def test_a_setting_allows_changes(installation: Installation) -> None:
    """With REMOTE_CONTROL_CHANGES=true remote control may add a process and shut the worker down."""
    with installation.worker(REMOTE_CONTROL_CHANGES="true") as worker:
        assert len(worker.children) == 2
        installation.celery.control.pool_grow(1, reply=True, timeout=5, limit=1)
        wait_until(lambda: len(worker.children) == 3, "there is one more")
        installation.celery.control.shutdown()
        wait_until(lambda: not worker.is_alive, "it stops", 30)

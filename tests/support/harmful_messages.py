"""Messages that no client sends, by name: some are carried out, the others become dead letters."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis

from tests.support.feeding import both_places_are_free
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync.dead_letters import DeadLetter

COMMAND: Final = "sessions.get_or_create"


def thread(name: str) -> str:
    return f"{zlib.crc32(name.encode())}.000100"


def arguments(name: str) -> dict[str, Any]:
    return {"channel_id": "C1", "thread_ts": thread(name), "user_id": "U1"}


def entry(name: str, content: Any = None, /, **changes: Any) -> bytes:
    """A message of protocol 2 as kombu writes it, with other headers, or parts in capitals."""
    headers = {"task": COMMAND, "id": name, **{key: value for key, value in changes.items() if key.islower()}}
    body = json.dumps([[], arguments(name), {}] if content is None else content).encode()
    properties: dict[str, Any] = {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "sessions"},
        "delivery_tag": f"tag of {name}",
        "priority": 0,
        **changes.get("PROPERTIES", {}),
    }
    whole = {
        "body": base64.b64encode(changes.get("BODY", body)).decode(),
        "content-encoding": changes.get("ENCODING", "utf-8"),
        "content-type": changes.get("TYPE", "application/json"),
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(whole).encode()


def embedding(name: str, **what: Any) -> bytes:
    return entry(name, [[], arguments(name), what])


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


_DEEP: Any = [1]
for _ in range(500):
    _DEEP = [_DEEP]

RUN: Final = {
    **{
        f"{name}: {value!r:.30}": entry(f"{name}: {value!r:.30}", **{name: value})
        for name, value in [
            ("stamped_headers", 5),
            ("stamped_headers", ["x"]),
            ("stamps", [1]),
            ("timelimit", [1, 2, 3]),
            ("timelimit", [1e-9, 1e-9]),
            ("timelimit", {}),
            ("retries", "x"),
            ("retries", 2**40),
            ("group", [1]),
            ("root_id", {"a": _DEEP}),
            ("argsrepr", 5),
            ("shadow", ["x"]),
            ("ignore_result", "x"),
            ("threadsync", {"pauses": 2147483648}),
            ("threadsync", {"pause": 1e308}),
            ("threadsync", 5),
            ("sent_at", 10**400),
            ("called_directly", True),
            ("is_eager", True),
            ("headers", 5),
            ("update", 5),
            ("_protected", "x"),
            ("delivery_info", 5),
            ("properties", [1]),
            ("args", 5),
            ("callbacks", 5),
            ("deep", _DEEP),
            ("opened_as", "another's"),
            ("eta", "0001-01-01T00:00:00+14:00"),
            ("expires", "9999-12-31T23:59:59-14:00"),
        ]
    },
    "no text as a way": entry(
        "no text as a way", PROPERTIES={"delivery_info": {"exchange": [1], "routing_key": {"a": 1}}}
    ),
    "its own consumer": entry("its own consumer", PROPERTIES={"delivery_info": {"consumer_tag": [1]}}),
    "a priority": entry("a priority", PROPERTIES={"priority": [1], "correlation_id": 5, "reply_to": {}}),
    "an encoding": entry("an encoding", ENCODING="bz2"),
    "an argument called self": entry(
        "an argument called self", [[], {**arguments("an argument called self"), "self": 1}, {}]
    ),
}
"""Of what is only told of a message, anything may be said."""

LETTERS: Final = {
    "due in a year": entry("due in a year", eta=in_days(365)),
    "due in two days": entry("due in two days", eta=in_days(2)),
    "due at the end of time": entry("due at the end of time", eta="9999-12-31T23:59:59.999999-14:00"),
    "eta a number": entry("eta a number", eta=5),
    "a moment as argument": entry(
        "a moment as argument",
        [
            [],
            {
                **arguments("a moment as argument"),
                "user_id": {"__type__": "datetime", "__value__": "2026-01-01"},
            },
            {},
        ],
    ),
    "bytes as argument": entry(
        "bytes as argument",
        [[], {**arguments("bytes as argument"), "user_id": {"__type__": "base64", "__value__": "/w=="}}, {}],
    ),
    "a huge number as argument": entry(
        "a huge number as argument",
        [[], {**arguments("x"), "user_id": {"__type__": "decimal", "__value__": "1e999999"}}, {}],
    ),
    "infinite": entry("infinite", [[], {**arguments("infinite"), "user_id": float("inf")}, {}]),
    "half a character": entry("half a character", [[], {**arguments("half"), "user_id": "\ud800"}, {}]),
    "millions of arguments": entry("millions of arguments", BODY=b"[[" + b"1," * 2_000_000 + b"1],{},{}]"),
    "deep arguments": entry("deep arguments", [[], {**arguments("deep"), "x": _DEEP}, {}]),
    "a bomb by its encoding": entry(
        "a bomb by its encoding", TYPE="application/text", ENCODING="bz2", BODY=bz2.compress(bytes(20 << 20))
    ),
    "a bomb by zlib's codec": entry(
        "a bomb by zlib's codec",
        TYPE="application/data",
        ENCODING="zlib",
        BODY=zlib.compress(bytes(20 << 20)),
    ),
    "callbacks no list": embedding("callbacks no list", callbacks=5),
    "callbacks of nothing": embedding("callbacks of nothing", callbacks=["x"]),
    "errbacks of numbers": embedding("errbacks of numbers", errbacks=[1]),
    "a chain": embedding("a chain", chain=[{"task": 5}]),
    "a chord": embedding("a chord", chord="x"),
    "eager": embedding("eager", is_eager=True),
    "without end": entry("without end", [["g", {"task": COMMAND}], {}, {}], task="celery.chord_unlock"),
    "a canary of no queue": entry(
        "a canary of no queue", [[], {"queue": "of no worker"}, {}], task="maintenance.canary"
    ),
    "a way that is none": embedding(
        "a way that is none", callbacks=[{"task": COMMAND, "options": {"queue": 5}}]
    ),
}


@contextmanager
def given_all_of_it(installation: Installation, deliveries: int = 0) -> Iterator[Installation]:
    """Run a worker that was given all of it and has ended all of it, after so many former deliveries."""
    entries = {**RUN, **LETTERS}
    with installation.worker() as worker, redis.Redis.from_url(installation.broker_url) as broker:
        if deliveries:
            broker.hset("unacked_deliveries", mapping={f"tag of {name}": deliveries for name in entries})
        # Of each two, with tags of their own: the second one must not be taken for the first.
        broker.lpush("sessions", *entries.values())
        wait_until(lambda: installation.waiting() == 0, "all have ended", 60)
        both_places_are_free(installation, installation.logs)
        assert worker.is_alive
        assert "Unrecoverable error" not in worker.log
        yield installation


def see_that_it_ran(installation: Installation, name: str) -> None:
    """Check that the message was carried out and left no dead letter."""
    assert is_carried_out(installation, name), letters(installation, name)
    assert letters(installation, name) == []


def see_that_it_is_a_letter(installation: Installation, name: str) -> None:
    """Check that the message was not carried out and left one dead letter with its arguments or bytes."""
    (letter,) = letters(installation, name)
    whole = json.loads(LETTERS[name])
    assert letter.arguments or letter.body in {base64.b64decode(whole["body"]), LETTERS[name]}
    assert not is_carried_out(installation, name)


def letters(installation: Installation, name: str) -> list[DeadLetter]:
    """Return the dead letters of a task id."""
    return [letter for letter in installation.dead_letters() if letter.task_id == name]


def is_carried_out(installation: Installation, name: str) -> bool:
    """Return whether there is a session of its thread."""
    return thread(name) in {session.thread_ts for session in installation.sessions()}

"""Messages of other clients of Celery's protocols, run where stock Celery 5.6 runs them.

Messages that stock Celery rejects, or ends at, become dead letters with their bytes.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import pytest
import redis

from tests.support.installation import Installation, install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync.dead_letters import DeadLetter

_LEFT_OUT: Final[Any] = object()
"""Placeholder for a part that is left out."""

COMMAND: Final = "sessions.get_or_create"


def _without_left_out(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value is not _LEFT_OUT}


def arguments(name: str) -> dict[str, Any]:
    """Return the arguments of the command by which a message is found: each makes a row of its own."""
    return {"channel_id": "C1", "thread_ts": thread(name), "user_id": "U1"}


def thread(name: str) -> str:
    """Return the thread that the message with this name creates."""
    return f"{zlib.crc32(name.encode())}.000100"


def message(content: Any, headers: Any, properties: dict[str, Any] | None = None, /, **parts: Any) -> str:
    """Return a message as kombu writes it, with the named parts replaced."""
    text = json.dumps(content).encode()
    whole = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": _without_left_out(
            {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "sessions"},
                "delivery_mode": 2,
                "delivery_tag": f"tag-{zlib.crc32(text)}",
                "priority": 0,
                **(properties or {}),
            }
        ),
        **parts,
    }
    return json.dumps(_without_left_out(whole))


def first(name: str, headers: Any = _LEFT_OUT, **parts: Any) -> str:
    """Return a message of protocol 1, whose body has all of it."""
    body = {"task": COMMAND, "id": name, "args": [], "kwargs": arguments(name), **parts}
    return message(_without_left_out(body), headers)


def second(name: str, properties: dict[str, Any] | None = None, /, **parts: Any) -> str:
    """Return a message of protocol 2."""
    return message([[], arguments(name), {}], {"task": COMMAND, "id": name}, properties, **parts)


def unencoded(name: str, **properties: Any) -> str:
    """Return a message of protocol 2 whose body is plain text."""
    body = json.dumps([[], arguments(name), {}])
    return second(name, {"body_encoding": _LEFT_OUT, **properties}, body=body)


def _in_lines(name: str) -> str:
    return base64.encodebytes(json.dumps([[], arguments(name), {}]).encode()).decode()


def hybrid(name: str) -> str:
    """Return a message with headers of protocol 2 and a body of protocol 1."""
    return message({"args": [], "kwargs": arguments(name)}, {"task": COMMAND, "id": name})


def compressed(name: str, by: str, compress: Callable[[bytes], bytes], **options: Any) -> str:
    """Return a message of protocol 2 with a compressed body."""
    content = json.dumps([[], arguments(name), {}]).encode()
    return packed(name, by, compress(content), **options)


def packed(name: str, by: str, body: bytes, **options: Any) -> str:
    """Return a message with this body, declared as compressed."""
    headers = {"task": COMMAND, "id": name, "compression": by, **options}
    return message(None, headers, {"delivery_tag": f"tag of {name}"}, body=base64.b64encode(body).decode())


def prioritized(name: str) -> str:
    """Return a message of the lowest priority."""
    return second(name, {"priority": 9})


def optioned(name: str, content: Any = _LEFT_OUT, /, **headers: Any) -> str:
    """Return a message with headers that a stock client may set."""
    body = [[], arguments(name), {}] if content is _LEFT_OUT else content
    return message(body, {"task": COMMAND, "id": name, **headers})


def signature(name: str) -> dict[str, Any]:
    """Return the signature of a message that follows another one."""
    options = {"queue": "sessions", "task_id": name}
    return {"task": COMMAND, "args": [], "kwargs": arguments(name), "options": options, "immutable": True}


def linked(name: str, then: str, what: str = "callbacks") -> str:
    """Return a message that asks for another one to follow it."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return message(
        [[], arguments(name), {**embed, what: [signature(then)]}], {"task": COMMAND, "id": name, "lang": "py"}
    )


SOON: Final = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
LATER: Final = (datetime.now(UTC) + timedelta(days=1)).isoformat()
EARLIER: Final = "2020-01-01T00:00:00+00:00"

RUN: Final = {
    "1": first("1", eta=None, expires=None, retries=0, utc=True, taskset=None, timelimit=[None, None]),
    "1 with moments": first("1 with moments", eta=SOON, expires=LATER, retries=2, utc=True),
    "1 with naive moments": first("1 with naive moments", eta=EARLIER[:19], expires=LATER[:19], utc=True),
    "1 without args": first("1 without args", args=_LEFT_OUT),
    "1, headers null": first("1, headers null", headers=None),
    "1, headers empty": first("1, headers empty", headers={}),
    "1, headers of its own": first("1, headers of its own", headers={"trace": [1]}),
    "1, no id": first("1, no id", id=_LEFT_OUT),
    "1, a number as id": first("1, a number as id", id=7),
    "2, id null": message([[], arguments("2, id null"), {}], {"task": COMMAND, "id": None}),
    "hybrid": hybrid("hybrid"),
    "2": second("2"),
    "2, more headers": message(
        [[], arguments("2, more headers"), None],
        {"task": COMMAND, "id": "2, more headers", "lang": "js", "x": {"y": None}, "retries": 3},
    ),
    "a number as tag": second("a number as tag", {"delivery_tag": 7}),
    "a fraction as tag": second("a fraction as tag", {"delivery_tag": 7.5}),
    "no tag": second("no tag", {"delivery_tag": _LEFT_OUT}),
    "tag null": second("tag null", {"delivery_tag": None}),
    "tag a list": second("tag a list", {"delivery_tag": [1]}),
    "one tag": second("one tag", {"delivery_tag": "the same"}),
    "one tag again": second("one tag again", {"delivery_tag": "the same"}),
    "no delivery info": second("no delivery info", {"delivery_info": _LEFT_OUT}),
    "delivery info null": second("delivery info null", {"delivery_info": None}),
    "delivery info empty": second("delivery info empty", {"delivery_info": {}}),
    "routing key null": second(
        "routing key null", {"delivery_info": {"exchange": None, "routing_key": None}}
    ),
    "no encoding": second("no encoding", **{"content-encoding": _LEFT_OUT}),
    "encoding null": second("encoding null", **{"content-encoding": None}),
    "priority as text": second("priority as text", {"priority": "high"}),
    "no priority": second("no priority", {"priority": _LEFT_OUT}),
    "unknown properties": second("unknown properties", {"app_id": 7, "x": {"y": [None]}, "reply_to": None}),
    "unknown parts": second("unknown parts", **{"version": 3}),
    "base64 in lines": second("base64 in lines", body=_in_lines("base64 in lines")),
    "unencoded": unencoded("unencoded"),
    "unencoded, null": unencoded("unencoded, null", body_encoding=None),
    "zlib": compressed("zlib", "zlib", zlib.compress),
    "zlib, by its type": compressed("zlib, by its type", "application/x-gzip", zlib.compress),
    "bz2": compressed("bz2", "application/x-bz2", bz2.compress),
    "lzma": compressed("lzma", "application/x-lzma", lzma.compress),
    "lowest priority": prioritized("lowest priority"),
    "expires later": optioned("expires later", expires=LATER),
    "expires in no known way": optioned(
        "expires in no known way", expires=None, eta=None, timelimit=[None, None]
    ),
    "of a group": optioned("of a group", group="g", group_index=0, root_id="r", parent_id=None, origin="x@y"),
    "with limits": optioned("with limits", timelimit=[3, 2], ignore_result=True, shadow="s", stamps={}),
    "with a callback": linked("with a callback", "its callback"),
    "its callback": linked("with a callback", "its callback"),
    "with a chain": linked("with a chain", "its chain", "chain"),
    "its chain": linked("with a chain", "its chain", "chain"),
    "with an errback": linked("with an errback", "its errback", "errbacks"),
}

EXPIRED: Final = {
    "1, expired": first("1, expired", expires=EARLIER, utc=True),
    "2, expired": optioned("2, expired", expires=EARLIER),
    "2, expired before its time": optioned("2, expired before its time", expires=EARLIER, eta=LATER),
}
"""Messages that stock Celery drops without an effect; they make no dead letter."""

LETTERS: Final = {
    "2, headers null": message([[], arguments("2, headers null"), {}], None),
    "2, no headers": message([[], arguments("2, no headers"), {}], _LEFT_OUT),
    "headers a list": message([[], arguments("headers a list"), {}], ["task"]),
    "headers text": first("headers text", headers="none"),
    "1, args null": first("1, args null", args=None),
    "1, args text": first("1, args text", args="ab"),
    "1, kwargs null": first("1, kwargs null", kwargs=None),
    "1, kwargs a list": first("1, kwargs a list", kwargs=["1, kwargs a list"]),
    "1, neither id nor args": first("1, neither id nor args", id=_LEFT_OUT, args=_LEFT_OUT),
    "1, unknown task": first("1, unknown task", task="sessions.vanished"),
    "1, bad eta": first("1, bad eta", eta="soon"),
    "no content type": second("no content type", **{"content-type": _LEFT_OUT}),
    "unknown content type": second("unknown content type", **{"content-type": "text/x-unknown"}),
    "unknown body encoding": second("unknown body encoding", {"body_encoding": "rot13"}),
    "no base64": second("no base64", body="abcde"),
    "body an object": second("body an object", body={"name": "body an object"}),
    "no properties": message([[], arguments("no properties"), {}], {"task": COMMAND}, properties=_LEFT_OUT),
    "zstd, which is not installed": packed("zstd, which is not installed", "application/zstd", b"z"),
    "compression unknown": packed("compression unknown", "application/x-unknown", b"u"),
    "compression no text": packed("compression no text", 7, b"7"),  # type: ignore[arg-type]
    "not what it says": packed("not what it says", "zlib", b"plain"),
    "cut off": packed("cut off", "zlib", zlib.compress(b"cut off" * 100)[:-8]),
    "bad expires": optioned("bad expires", expires="soon"),
    "bad eta": optioned("bad eta", eta={"at": 1}),
    "embed no object": optioned("embed no object", [[], arguments("embed no object"), 7]),
    "four parts": optioned("four parts", [[], arguments("four parts"), {}, {}]),
    "delivery info text": second("delivery info text", {"delivery_info": "none"}),
}

BOMBS: Final[dict[str, tuple[str, Callable[[bytes], bytes], int]]] = {
    "a bomb": ("zlib", zlib.compress, 200),
    "a bomb of bz2": ("application/x-bz2", bz2.compress, 200),
    "a bomb of lzma": ("application/x-lzma", lzma.compress, 40),
}
"""Letters, too: their compression, and how many megabytes they open to."""


@cache
def rejected() -> dict[str, str]:
    """Return all messages that stock Celery rejects. Bombs take seconds to make, so not at each import."""
    bombs = {
        name: packed(name, compression, compress(bytes(megabytes << 20)))
        for name, (compression, compress, megabytes) in BOMBS.items()
    }
    return LETTERS | bombs


def tag(raw: str) -> str:
    """Return the delivery tag that TAKE leaves or gives to the message."""
    own = json.loads(raw).get("properties", {}).get("delivery_tag")
    if isinstance(own, int | float):
        return str(own)
    return own if isinstance(own, str) else f"unreadable-{hashlib.sha1(raw.encode()).hexdigest()}"  # noqa: S324


def bodies(raw: str) -> set[bytes]:
    """Return the bytes that a dead letter may keep: the whole message or its body."""
    body = json.loads(raw)["body"]
    with suppress(ValueError, TypeError):
        return {raw.encode(), base64.b64decode(body, validate=True)}
    return {raw.encode(), str(body).encode()}


class Ended(NamedTuple):
    """What became of all messages: the threads with a session, and the dead letters."""

    threads: set[str]
    letters: list[DeadLetter]

    def letters_of(self, raw: str) -> list[DeadLetter]:
        """Return the dead letters with the message's bytes."""
        return letters(self.letters, raw)


@pytest.fixture(scope="module", params=[0, 2], ids=["at once", "opened alone"])
def fed(
    request: pytest.FixtureRequest,
    postgres: PostgresForTests,
    valkey: ValkeyForTests,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """Yield an installation whose worker has ended all messages, new or delivered twice before."""
    with install(postgres, valkey, tmp_path_factory.mktemp("fed")) as installation:
        raw = list(dict.fromkeys([*RUN.values(), *EXPIRED.values(), *rejected().values()]))
        if request.param:
            # Each tag was delivered to two workers that died.
            with redis.Redis.from_url(installation.broker_url) as broker:
                broker.hset("unacked_deliveries", mapping=dict.fromkeys(map(tag, raw), request.param))
        with installation.worker(), redis.Redis.from_url(installation.broker_url) as broker:
            broker.lpush("sessions", *raw)
            wait_until(lambda: installation.waiting() == 0, "all have ended", 60)
            yield installation


@pytest.fixture(scope="module")
def ended(fed: Installation) -> Ended:
    """Return what became of them."""
    return Ended({session.thread_ts for session in fed.sessions()}, fed.dead_letters())


@pytest.mark.parametrize("name", RUN)
def test_what_stock_celery_runs_is_run(ended: Ended, name: str) -> None:
    """A message that stock Celery runs has its effect and makes no dead letter."""
    assert thread(name) in ended.threads, ended.letters_of(RUN[name])
    assert ended.letters_of(RUN[name]) == []


@pytest.mark.parametrize("name", [*LETTERS, *BOMBS])
def test_what_stock_celery_rejects_is_kept(ended: Ended, name: str) -> None:
    """A message that stock Celery rejects makes one dead letter with its bytes and has no effect."""
    (letter,) = ended.letters_of(rejected()[name])
    assert letter.attempts == 1
    assert thread(name) not in ended.threads


@pytest.mark.parametrize("name", EXPIRED)
def test_what_stock_celery_drops_is_dropped(ended: Ended, name: str) -> None:
    """An expired message has no effect and makes no dead letter."""
    assert thread(name) not in ended.threads
    assert ended.letters_of(EXPIRED[name]) == []


def letters(among: Iterable[DeadLetter], raw: str) -> list[DeadLetter]:
    """Return the dead letters with the message's bytes."""
    meant = bodies(raw)
    return [letter for letter in among if letter.body in meant]


def test_those_without_an_id_are_kept_apart(fed: Installation) -> None:
    """Failing messages without an id make a dead letter each, even with the same delivery tag."""
    refused = [first(f"nameless {number}", id=_LEFT_OUT, args=[number]) for number in range(2)]
    unread = [message([number], None, {"delivery_tag": "one for all"}) for number in range(2)]
    with redis.Redis.from_url(fed.broker_url) as broker:
        for raw in (*refused, *unread):
            broker.lpush("sessions", raw)
            wait_until(lambda: fed.waiting() == 0, "it has ended")
    assert {raw: len(letters(fed.dead_letters(), raw)) for raw in unread} == dict.fromkeys(unread, 1)
    kept = [json.loads(letter.arguments)["args"] for letter in fed.dead_letters() if letter.arguments]
    assert [args for args in kept if args in ([0], [1])] in ([[0], [1]], [[1], [0]])


def test_a_command_of_protocol_1_waits_for_its_session(fed: Installation) -> None:
    """A command of protocol 1 waits for its session and is then carried out."""
    name = "waits for its session"
    kwargs = {**arguments(name), "status": "ready_to_sync"}
    del kwargs["user_id"]
    raw = first(name, task="sessions.update_status", args=_LEFT_OUT, kwargs=kwargs)
    with redis.Redis.from_url(fed.broker_url) as broker:
        broker.lpush("sessions", raw)
        wait_until(lambda: broker.llen("sessions") == 0, "it is taken")
        broker.lpush("sessions", first(name))
    wait_until(lambda: fed.waiting() == 0, "both have ended")
    (session,) = [session for session in fed.sessions() if session.thread_ts == thread(name)]
    assert session.status == "ready_to_sync"


def test_a_dead_letter_of_protocol_1_can_be_sent_again(fed: Installation) -> None:
    """A dead letter of protocol 1 has the task name and arguments of its body."""
    (letter,) = letters(fed.dead_letters(), LETTERS["1, unknown task"])
    assert (letter.task_id, letter.task_name) == ("1, unknown task", "sessions.vanished")
    assert json.loads(letter.arguments or "") == {"args": [], "kwargs": arguments("1, unknown task")}

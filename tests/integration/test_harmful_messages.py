"""No message ends a worker's main process, holds a place of its pool, or goes round for ever."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis

from tasks.client import SessionClient
from tests.feeding import ValkeyFeed, both_places_are_free, feed, unaccounted
from tests.installation import Installation, install
from tests.servers import PostgresForTests, ValkeyForTests
from tests.waiting import wait_until
from worker.db.models import DeadLetter
from worker.waiting import MOST_HELD

SEED: Final = 15
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
            ("opened_as", "somebody's"),
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
        "a canary of no queue", [[], {"queue": "of nobody"}, {}], task="maintenance.canary"
    ),
    "a way that is none": embedding(
        "a way that is none", callbacks=[{"task": COMMAND, "options": {"queue": 5}}]
    ),
}


@pytest.fixture(scope="module", params=[0, 2], ids=["at once", "opened alone"])
def fed(
    request: pytest.FixtureRequest,
    postgres: PostgresForTests,
    valkey: ValkeyForTests,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """One whose worker was given all of it and has ended all of it, after so many former deliveries."""
    with install(postgres, valkey, tmp_path_factory.mktemp("fed")) as installation:
        entries = {**RUN, **LETTERS}
        with installation.worker() as worker, redis.Redis.from_url(installation.broker_url) as broker:
            if request.param:
                broker.hset(
                    "unacked_deliveries", mapping={f"tag of {name}": request.param for name in entries}
                )
            # Of each two, with tags of their own: the second one must not be taken for the first.
            broker.lpush("sessions", *entries.values())
            wait_until(lambda: installation.waiting() == 0, "all have ended", 60)
            both_places_are_free(installation, [installation.logs / "one", installation.logs / "two"])
            assert worker.is_alive
            assert "Unrecoverable error" not in worker.log
            yield installation


@pytest.mark.parametrize("name", RUN)
def test_what_is_told_of_a_command_decides_nothing(fed: Installation, name: str) -> None:
    """It is carried out, and there is no letter."""
    assert thread(name) in {session.thread_ts for session in fed.sessions()}, letters(fed, name)
    assert letters(fed, name) == []


@pytest.mark.parametrize("name", LETTERS)
def test_what_decides_must_be_readable(fed: Installation, name: str) -> None:
    """It is not carried out, and there is one letter with its arguments or its bytes."""
    (letter,) = letters(fed, name)
    whole = json.loads(LETTERS[name])
    assert letter.arguments or letter.body in {base64.b64decode(whole["body"]), LETTERS[name]}
    assert thread(name) not in {session.thread_ts for session in fed.sessions()}


def letters(fed: Installation, name: str) -> list[DeadLetter]:
    return [letter for letter in fed.dead_letters() if letter.task_id == name]


def test_mutated_messages_do_no_harm(installation: Installation, tmp_path: Path) -> None:
    """A sample of those of tests/long/test_mutated_messages.py."""
    way = ValkeyFeed(installation)
    try:
        with installation.worker() as worker:
            pid = worker.pid
            fed = feed(installation, way, range(150), SEED)
            assert (worker.is_alive, worker.pid) == (True, pid)
            assert fed.answered > 0
            assert unaccounted(installation, fed) == []
            both_places_are_free(installation, [tmp_path / "one", tmp_path / "two"])
    finally:
        way.close()


def test_messages_with_one_id_are_kept_apart(shared: Installation) -> None:
    """Somebody may give his message another one's id: the letter of one must not stand for the other."""
    same = [entry("same", [[number], {}, {}], TYPE="text/plain") for number in range(3)]
    with redis.Redis.from_url(shared.broker_url) as broker:
        for _ in range(2):
            broker.lpush("sessions", *same)
            wait_until(lambda: shared.waiting() == 0, "all have ended")
    found = [letter for letter in shared.dead_letters() if letter.task_id.partition("#")[0] == "same"]
    assert sorted(letter.body or b"" for letter in found) == [
        f"[[{number}], {{}}, {{}}]".encode() for number in range(3)
    ]


def test_what_has_expired_revokes_no_other(shared: Installation) -> None:
    """An id may be somebody else's, too."""
    with redis.Redis.from_url(shared.broker_url) as broker:
        broker.lpush("sessions", entry("twice", expires="2020-01-01T00:00:00+00:00"))
        wait_until(lambda: shared.waiting() == 0, "it is dropped")
        assert not is_carried_out(shared, "twice")
        broker.lpush("sessions", entry("twice"))
        wait_until(lambda: is_carried_out(shared, "twice"), "the other one is carried out")


def is_carried_out(installation: Installation, name: str) -> bool:
    return thread(name) in {session.thread_ts for session in installation.sessions()}


def test_of_those_that_are_due_soon_not_all_wait_in_a_worker(shared: Installation) -> None:
    """It holds 1,000; the others wait in the broker, which does not forget them either."""
    names = [f"soon {number}" for number in range(MOST_HELD + 300)]
    with redis.Redis.from_url(shared.broker_url) as broker:
        due = (datetime.now(UTC) + timedelta(seconds=4.5)).isoformat()
        broker.lpush("sessions", *(entry(name, eta=due) for name in names))
        wait_until(lambda: broker.zcard("threadsync.waiting:sessions") > 0, "some wait in the broker", 15)
        wait_until(lambda: shared.waiting() == 0, "all have ended", 30)
    assert {thread(name) for name in names} <= {session.thread_ts for session in shared.sessions()}


def test_what_can_not_be_followed_ends(shared: Installation) -> None:
    """The command is carried out; what it asks for to follow, in a table of kombu's, is told in a letter."""
    follows = {"task": COMMAND, "args": [], "kwargs": {}, "options": {"queue": "unacked"}}
    with redis.Redis.from_url(shared.broker_url) as broker:
        broker.lpush("sessions", embedding("followed", callbacks=[follows]))
        wait_until(lambda: shared.waiting() == 0, "it has ended", 20)
    assert is_carried_out(shared, "followed")
    (letter,) = letters(shared, "followed")
    assert "WRONGTYPE" in letter.error


def test_what_no_process_has_memory_for_is_buried_in_the_end(shared: Installation) -> None:
    """Celery's main process would end of the error. Each time counts like a death."""
    result = shared.send("probe.no_memory")
    letter = shared.dead_letter(lambda letter: letter.task_id == result.id, timeout=30)
    assert (letter.error_type, letter.attempts) == ("PoisonCommand", 5)
    assert shared.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None


def test_a_tag_that_is_no_text_ends(shared: Installation) -> None:
    """A byte that is no UTF-8: the server must hear of the very same tag."""
    raw = entry("tag", PROPERTIES={"delivery_tag": "TAG"}).replace(b"TAG", b"\xff\xfe")
    with redis.Redis.from_url(shared.broker_url) as broker:
        broker.lpush("sessions", raw)
        wait_until(lambda: shared.waiting() == 0, "it has ended", 15)
    assert [letter.body for letter in shared.dead_letters() if letter.body == raw] == [raw]


def test_what_is_no_note_leaves_what_is_unacknowledged(shared: Installation) -> None:
    """Written into kombu's own tables: it must not be looked at for ever, nor stand before real ones."""
    notes = {f"junk {number}": "no note" for number in range(600)}
    notes |= {"a table": '[1,"","unacked"]', "no name": '[1,"","\\u12"]', "a name too many": '[1,"",""]'}
    note = f'[{entry("real").decode()},"","sessions"]'
    with redis.Redis.from_url(shared.broker_url) as broker:
        counts = {"real": "junk", "tag of real": "1e3", "tag of another": "x", "a table": str(2**63 - 1)}
        broker.hset("unacked_deliveries", mapping=counts)
        broker.lpush("sessions", entry("another"))
        wait_until(lambda: is_carried_out(shared, "another"), "its deliveries are counted anew", 20)
        broker.hset("unacked", mapping={**notes, "real": note})
        broker.zadd("unacked_index", {**dict.fromkeys([*notes, "of nothing"], 1.0), "real": 2.0})
        wait_until(lambda: is_carried_out(shared, "real"), "the real one is carried out", 20)
        wait_until(lambda: shared.waiting() == 0, "nothing is left", 20)
        wait_until(lambda: broker.zcard("unacked_index") == 0, "nor to be looked at")


def test_junk_among_the_queues_of_an_exchange_stops_no_publisher(shared: Installation) -> None:
    """kombu's table of them: it reads three parts of each entry, whatever stands there."""
    junk: list[str | bytes] = ["junk", b"\xff\xfe", "a\x06\x16b\x06\x16c\x06\x16d"]
    with redis.Redis.from_url(shared.broker_url) as broker, SessionClient(shared.broker_url) as client:
        tables = ["_kombu.binding.sessions", "_kombu.binding.reply.celery.pidbox"]
        for table in tables:
            broker.sadd(table, *junk)
        try:
            assert client.get("C1", "1.1").get(timeout=10) is None
            assert shared.celery.control.broadcast("ping", reply=True, timeout=5, limit=1)
        finally:
            # Stock clients would fail at it.
            for table in tables:
                broker.srem(table, *junk)


_REFUSING: Final = """
ALTER TABLE dead_letters ADD CONSTRAINT none_of_these
    CHECK (position('unwanted'::bytea IN coalesce(body, '')) = 0
           AND coalesce(arguments, '') NOT LIKE '%unwanted%'),
    ADD CONSTRAINT not_as_arguments CHECK (coalesce(arguments, '') NOT LIKE '%shorter%')
"""


def test_a_letter_that_postgres_refuses_is_dropped(
    installation: Installation, postgres: PostgresForTests
) -> None:
    """A healthy one, in whatever form: of what no command reads, and of what fails. Others are kept."""
    with psycopg.connect(
        postgres.for_administrator(installation.database_url), autocommit=True
    ) as administrator:
        administrator.execute(_REFUSING)
    sent = {
        "junk": entry("junk", ["unwanted"]),
        "fails": entry("fails", [["unwanted"], {}, {}]),
        "shorter junk": entry("shorter junk", [["shorter"], {}, {}], eta="soon"),
        "shorter fails": entry("shorter fails", [["shorter"], {}, {}]),
        "kept": entry("kept", [["wanted"], {}, {}]),
    }
    with installation.worker() as worker, redis.Redis.from_url(installation.broker_url) as broker:
        broker.lpush("sessions", *sent.values())
        wait_until(lambda: installation.waiting() == 0, "all have ended", 20)
        assert worker.log.count("message dropped") == 2
        assert worker.log.count("task id 'junk'") == worker.log.count("task id 'fails'") == 1
        assert installation.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None
    kept = {letter.task_id: letter for letter in installation.dead_letters()}
    shortened = [letter for task_id, letter in kept.items() if task_id.startswith("letter-")]
    assert len(shortened) == 2
    assert all(b"shorter" in (letter.body or b"") for letter in shortened)
    assert kept["kept"].error_type == "InvalidCommand"


def test_a_letter_waits_while_postgres_cannot_take_it(
    installation: Installation, postgres: PostgresForTests
) -> None:
    """The table is away, which is nothing of the letter's: it is waited out, and others go on."""
    owner = postgres.for_administrator(installation.database_url)
    with (
        psycopg.connect(owner, autocommit=True) as administrator,
        installation.worker() as worker,
        redis.Redis.from_url(installation.broker_url) as broker,
    ):
        administrator.execute("ALTER TABLE dead_letters RENAME TO elsewhere")
        broker.lpush("sessions", *(entry(f"junk {number}", [number]) for number in range(30)))
        wait_until(lambda: "dead letters could not be written" in worker.log, "one try has failed", 20)
        assert installation.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None
        assert installation.waiting() == 30
        administrator.execute("ALTER TABLE elsewhere RENAME TO dead_letters")
        wait_until(lambda: installation.waiting() == 0, "all are kept", 30)
    assert len(installation.dead_letters()) == 30

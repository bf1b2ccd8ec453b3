"""Harmful messages, which end no main process, block no pool and are not delivered for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.support.harmful_messages import (
    COMMAND,
    LETTERS,
    RUN,
    arguments,
    embedding,
    entry,
    given_all_of_it,
    is_carried_out,
    letters,
    see_that_it_is_a_letter,
    see_that_it_ran,
)
from tests.support.installation import Installation, install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync import SessionClient


@pytest.fixture(scope="module")
def fed(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Start a worker, and give it every harmful message."""
    with (
        install(postgres, valkey, tmp_path_factory.mktemp("fed")) as installation,
        given_all_of_it(installation),
    ):
        yield installation


@pytest.mark.parametrize("name", RUN)
def test_what_is_told_of_a_command_decides_nothing(fed: Installation, name: str) -> None:
    """A message with junk in fields that decide nothing is carried out without a dead letter."""
    see_that_it_ran(fed, name)


@pytest.mark.parametrize("name", LETTERS)
def test_what_decides_must_be_readable(fed: Installation, name: str) -> None:
    """A message with junk in a deciding field is not carried out, and makes one dead letter."""
    see_that_it_is_a_letter(fed, name)


def test_messages_with_one_id_are_kept_apart(fed: Installation) -> None:
    """Failing messages with the same id make a dead letter each."""
    same = [entry("same", [[number], {}, {}], TYPE="text/plain") for number in range(3)]
    with redis.Redis.from_url(fed.broker_url) as broker:
        for _ in range(2):
            broker.lpush("sessions", *same)
            wait_until(lambda: fed.waiting() == 0, "all have ended")
    found = [letter for letter in fed.dead_letters() if letter.task_id.partition("#")[0] == "same"]
    assert sorted(letter.body or b"" for letter in found) == [
        f"[[{number}], {{}}, {{}}]".encode() for number in range(3)
    ]


def test_what_has_expired_revokes_no_other(fed: Installation) -> None:
    """An expired message does not revoke a later one with the same id."""
    with redis.Redis.from_url(fed.broker_url) as broker:
        broker.lpush("sessions", entry("twice", expires="2020-01-01T00:00:00+00:00"))
        wait_until(lambda: fed.waiting() == 0, "it is dropped")
        assert not is_carried_out(fed, "twice")
        broker.lpush("sessions", entry("twice"))
        wait_until(lambda: is_carried_out(fed, "twice"), "the other one is carried out")


@pytest.mark.parametrize(
    ("error", "follower"),
    [
        ("WRONGTYPE", {"immutable": True, "kwargs": arguments("follower"), "options": {"queue": "unacked"}}),
        # Celery would pass the command's result to it as an argument.
        ("arguments have names", {}),
        ("valid string", {"immutable": True, "kwargs": {"channel_id": 5}}),
        ("KeyError", {"task": "celery.group", "subtask_type": "no such type"}),
        ("Serializer", {"immutable": True, "kwargs": arguments("x"), "options": {"serializer": "no such"}}),
    ],
)
def test_what_can_not_be_followed_ends(fed: Installation, error: str, follower: dict[str, Any]) -> None:
    """A command whose follow-up cannot be sent is carried out, and a dead letter names the error."""
    name = f"followed by {error}"
    sent = embedding(name, callbacks=[{"task": COMMAND, "args": [], "kwargs": {}, "options": {}, **follower}])
    with redis.Redis.from_url(fed.broker_url) as broker:
        broker.lpush("sessions", sent)
        wait_until(lambda: fed.waiting() == 0, "it has ended", 20)
    assert is_carried_out(fed, name)
    (letter,) = letters(fed, name)
    assert error in letter.error


def test_a_tag_that_is_no_text_ends(fed: Installation) -> None:
    """A message with a delivery tag that is not UTF-8 becomes a dead letter and leaves the broker."""
    raw = entry("tag", PROPERTIES={"delivery_tag": "TAG"}).replace(b"TAG", b"\xff\xfe")
    with redis.Redis.from_url(fed.broker_url) as broker:
        broker.lpush("sessions", raw)
        wait_until(lambda: fed.waiting() == 0, "it has ended", 15)
    assert [letter.body for letter in fed.dead_letters() if letter.body == raw] == [raw]


def test_what_is_no_note_leaves_what_is_unacknowledged(fed: Installation) -> None:
    """Junk in kombu's tables of unacknowledged messages is removed and does not delay real messages."""
    notes = {f"junk {number}": "no note" for number in range(600)}
    notes |= {"a table": '[1,"","unacked"]', "no name": '[1,"","\\u12"]', "a name too many": '[1,"",""]'}
    note = f'[{entry("real").decode()},"","sessions"]'
    with redis.Redis.from_url(fed.broker_url) as broker:
        counts = {"real": "junk", "tag of real": "1e3", "tag of another": "x", "a table": str(2**63 - 1)}
        broker.hset("unacked_deliveries", mapping=counts)
        broker.lpush("sessions", entry("another"))
        wait_until(lambda: is_carried_out(fed, "another"), "its deliveries are counted anew", 20)
        broker.hset("unacked", mapping={**notes, "real": note})
        broker.zadd("unacked_index", {**dict.fromkeys([*notes, "of nothing"], 1.0), "real": 2.0})
        wait_until(lambda: is_carried_out(fed, "real"), "the real one is carried out", 20)
        wait_until(lambda: fed.waiting() == 0, "nothing is left", 20)
        wait_until(lambda: broker.zcard("unacked_index") == 0, "nor to be looked at")


def test_junk_among_the_queues_of_an_exchange_stops_no_publisher(fed: Installation) -> None:
    """Junk in kombu's table of an exchange's queues stops neither commands nor broadcasts."""
    junk: list[str | bytes] = ["junk", b"\xff\xfe", "a\x06\x16b\x06\x16c\x06\x16d"]
    with redis.Redis.from_url(fed.broker_url) as broker, SessionClient(fed.broker_url) as client:
        tables = ["_kombu.binding.sessions", "_kombu.binding.reply.celery.pidbox"]
        for table in tables:
            broker.sadd(table, *junk)
        try:
            assert client.get("C1", "1.1").get(timeout=10) is None
            assert fed.celery.control.broadcast("ping", reply=True, timeout=5, limit=1)
        finally:
            # Stock clients would fail at the junk.
            for table in tables:
                broker.srem(table, *junk)

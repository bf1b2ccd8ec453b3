"""Harmful messages, in the slow cases: opened alone, mutated, refused by Postgres."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis

from tests.support.feeding import ValkeyFeed, both_places_are_free, feed, see_that_all_are_accounted_for
from tests.support.harmful_messages import (
    COMMAND,
    LETTERS,
    RUN,
    arguments,
    entry,
    given_all_of_it,
    see_that_it_is_a_letter,
    see_that_it_ran,
    thread,
)
from tests.support.installation import Installation, install
from tests.support.mutations import JUNK
from tests.support.scale import SOAK
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from worker.db.forgetting.store import ForgetStore
from worker.db.pool import new_pool
from worker.durable.waiting import MOST_HELD

SEED: Final = 15
_OURS: Final = ("sessions.", "channels.", "syncs.", "jira.", "maintenance.")
_NAMES: Final = (
    *("channel_id", "thread_ts", "user_id", "session_id", "status", "jira_key", "draft", "drafted_at"),
    *(
        "actor",
        "command_id",
        "reason",
        "patch",
        "new_channel_id",
        "limit",
        "cursor",
        "text",
        "blocks",
        "queue",
    ),
)
_OPENED_ALONE_AFTER: Final = 2


@pytest.fixture(scope="module")
def fed(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Install an installation whose worker got every message as if it had been delivered twice before."""
    with (
        install(postgres, valkey, tmp_path_factory.mktemp("fed")) as installation,
        given_all_of_it(installation, _OPENED_ALONE_AFTER),
    ):
        yield installation


@pytest.mark.parametrize("name", RUN)
def test_what_is_told_of_a_command_decides_nothing(fed: Installation, name: str) -> None:
    """A command that is opened alone runs, whatever its descriptive headers say."""
    see_that_it_ran(fed, name)


@pytest.mark.parametrize("name", LETTERS)
def test_what_decides_must_be_readable(fed: Installation, name: str) -> None:
    """A message opened alone becomes a dead letter if a part that decides is unreadable."""
    see_that_it_is_a_letter(fed, name)


def ours_of(installation: Installation) -> list[str]:
    """Return the names of our tasks that a worker has."""
    answer: Any = installation.celery.control.inspect(timeout=5, limit=1).registered()
    (names,) = answer.values()
    return sorted(name for name in names if name.startswith(_OURS))


@pytest.mark.parametrize("shape", ["in their order", "by name"])
def test_each_task_ends_whatever_its_arguments(
    installation: Installation, tmp_path: Path, shape: str
) -> None:
    """Each task ends with junk as arguments, also those of workers and beat, and honest commands run."""
    with installation.worker() as worker, redis.Redis.from_url(installation.broker_url) as broker:
        pid = worker.pid
        tasks = ours_of(installation)
        assert len(tasks) > 20
        for number, (task, text) in enumerate(itertools.product(tasks, JUNK[:: 1 if SOAK else 5])):
            junk = json.loads(text)
            by_name = [[], dict.fromkeys(_NAMES, junk), {}]
            content = [[junk], {}, {}] if shape == "in their order" else by_name
            broker.lpush("sessions", entry(f"{task} {number}", content, task=task))
        assert installation.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=30) is None
        wait_until(lambda: installation.waiting() == 0, "all have ended", 120)
        both_places_are_free(installation, tmp_path)
        assert (worker.is_alive, worker.pid) == (True, pid)
        assert "Unrecoverable error" not in worker.log
    assert installation.deaths() == []


def first(name: str, command: str, **kwargs: Any) -> bytes:
    """Make a message of protocol 1, whose id is in its body alone."""
    body = {"task": command, "id": name, "args": [], "kwargs": kwargs}
    whole = json.loads(entry(name, body))
    return json.dumps({**whole, "headers": {}}).encode()


def test_no_record_of_a_suspect_stays(installation: Installation) -> None:
    """No record stays of a suspect with its id in its body, whether it fails, waits or runs."""
    late = {"channel_id": "C1", "thread_ts": thread("late")}
    sent = {
        "fails": first("fails", COMMAND, thread_ts="1.1"),
        "waits": first("waits", "sessions.mark_synced", **arguments("x"), jira_key="PROJ-1"),
        "waits and runs": first("waits and runs", "sessions.mark_synced", **late, jira_key="PROJ-1"),
        "runs": first("runs", COMMAND, **arguments("runs")),
    }
    with (
        installation.worker(SESSION_WAIT_SECONDS="3") as worker,
        redis.Redis.from_url(installation.broker_url) as broker,
    ):
        broker.hset("unacked_deliveries", mapping={f"tag of {name}": 2 for name in sent})
        broker.lpush("sessions", *sent.values())
        wait_until(lambda: worker.log.count("task waits") >= 2, "two wait", 20)
        installation.send(COMMAND, **late, user_id="U1")
        wait_until(lambda: installation.waiting() == 0, "all have ended", 30)
        assert worker.log.count("is opened alone") >= len(sent)
        wait_until(lambda: installation.deaths() == [], "no record stays")
    assert {letter.task_id for letter in installation.dead_letters()} == {"fails", "waits"}
    assert {session.status for session in installation.sessions()} == {"synced", "collecting"}


PERSON: Final = "U0OCELOT"
_WORDS: Final = {"channel_id": "C1", "thread_ts": "1.1", "user_id": PERSON, "text": "the ocelot"}
NAMING: Final = {
    "a type": entry("a type", TYPE=f"text/{PERSON}"),
    "a task": entry("a task", task=PERSON),
    "its id": entry(PERSON, 5),
    "a moment": entry("a moment", [[], _WORDS, {}], eta=f"{PERSON} likes the ocelot"),
    "an argument": entry("an argument", [[], _WORDS, {}]),
    "no JSON": entry("no JSON", BODY=f'{{"{PERSON}": the ocelot'.encode()),
    "no text": entry("no text", BODY=b"\xff\xfe the ocelot of " + PERSON.encode()),
    "half a character": entry("half a character", [[], {**_WORDS, "user_id": f"\ud800 {PERSON} ocelot"}, {}]),
    "a number": entry("a number", BODY=b'["the ocelot", ' + b"9" * 5000 + b"]"),
    "what follows": entry("what follows", [[], _WORDS, {PERSON: 1, "callbacks": [{"task": "the ocelot"}]}]),
    "no message": f"the ocelot of {PERSON}".encode(),
}


def test_who_was_forgotten_is_in_no_log(installation: Installation) -> None:
    """No log and no dead letter has a forgotten person, whatever is wrong with a message with the name."""
    with new_pool(installation.database_url) as pool:
        forgets = ForgetStore(pool)
        forgets.expect_person(forgets.begin("user", None, actor="ann", reason="asked for"), PERSON)
    with installation.worker() as worker, redis.Redis.from_url(installation.broker_url) as broker:
        broker.lpush("sessions", *NAMING.values())
        wait_until(lambda: installation.waiting() == 0, "all have ended", 30)
        broker.publish(f"/{installation.broker_url.rpartition('/')[2]}.celery.pidbox", NAMING["no text"])
        assert installation.celery.control.ping(timeout=5)
        log = worker.log
    lines = [line for line in log.splitlines() if PERSON in line or "ocelot" in line]
    assert lines == []
    assert [letter for letter in installation.dead_letters() if PERSON in repr(letter)] == []


def test_mutated_messages_do_no_harm(installation: Installation, tmp_path: Path) -> None:
    """A sample of the mutants of tests/long/test_mutated_messages.py does no harm."""
    way = ValkeyFeed(installation)
    try:
        with installation.worker() as worker:
            pid = worker.pid
            fed = feed(installation, way, range(150), SEED)
            assert (worker.is_alive, worker.pid) == (True, pid)
            assert fed.answered > 0
            see_that_all_are_accounted_for(installation, fed)
            both_places_are_free(installation, tmp_path)
    finally:
        way.close()


def test_of_those_that_are_due_soon_not_all_wait_in_a_worker(shared: Installation) -> None:
    """A worker holds 1,000 messages that are due soon; the others wait in the broker, and run as well."""
    names = [f"soon {number}" for number in range(MOST_HELD + 300)]
    with redis.Redis.from_url(shared.broker_url) as broker:
        due = (datetime.now(UTC) + timedelta(seconds=4.5)).isoformat()
        broker.lpush("sessions", *(entry(name, eta=due) for name in names))
        wait_until(lambda: broker.zcard("threadsync.waiting:sessions") > 0, "some wait in the broker", 15)
        wait_until(lambda: shared.waiting() == 0, "all have ended", 30)
    assert {thread(name) for name in names} <= {session.thread_ts for session in shared.sessions()}


def test_what_no_process_has_memory_for_is_buried_in_the_end(shared: Installation) -> None:
    """A command for which no process has memory becomes a dead letter: each attempt counts as a death."""
    result = shared.send("probe.no_memory")
    letter = shared.dead_letter(lambda letter: letter.task_id == result.id, timeout=30)
    assert (letter.error_type, letter.attempts) == ("PoisonCommand", 5)
    assert shared.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None


_REFUSING: Final = """
ALTER TABLE dead_letters ADD CONSTRAINT none_of_these
    CHECK (position('unwanted'::bytea IN coalesce(body, '')) = 0
           AND coalesce(arguments, '') NOT LIKE '%unwanted%'),
    ADD CONSTRAINT not_as_arguments CHECK (coalesce(arguments, '') NOT LIKE '%shorter%')
"""


def test_a_letter_that_postgres_refuses_is_dropped(
    installation: Installation, postgres: PostgresForTests
) -> None:
    """A healthy Postgres that refuses a dead letter in every form costs that one alone; others are kept."""
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
    """Dead letters wait while their table is missing, and other commands go on."""
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
        # The worker may tell of its end after the answer.
        wait_until(lambda: installation.waiting() == 30, "the letters alone are left")
        administrator.execute("ALTER TABLE elsewhere RENAME TO dead_letters")
        wait_until(lambda: installation.waiting() == 0, "all are kept", 30)
    assert len(installation.dead_letters()) == 30

"""Pipelines of many statements with the effects that these have one by one, in both stores."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, as_owner, ask
from tests.support.stores import awaitable
from tests.support.waiting import wait_until
from threadsync.command import Validated
from threadsync.commands import (
    GetContext,
    GetOrCreate,
    GetSession,
    ListByChannel,
    MarkSynced,
    MergeContext,
    UpdateStatus,
)
from threadsync.config import get_settings
from threadsync.errors import (
    DatabaseUnavailable,
    InvalidCommand,
    JiraKeyConflict,
    SessionNotFound,
    ThreadsyncError,
)
from threadsync.sessions import SessionPage, SessionResult
from threadsync.types import Status
from worker.db import AsyncSessionStore, SessionStore, pipeline
from worker.db.pool import new_async_pool, new_pool
from worker.db.sessions.statements import AllSessions, SessionById, statement_of
from worker.db.statement import Statement
from worker.local.servers.postgres import EmbeddedPostgres

CHANNELS: Final = ("C1", "C2")
THREADS: Final = ("1.1", "2.1")
TIMES_AND_IDS: Final = {"id", "created_at", "updated_at"}
WAITING: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def opening(channel_id: str, thread_ts: str, user_id: str = "U1") -> Statement[SessionResult]:
    """Make the statement of `GetOrCreate` with an unchecked user id, for the database to refuse."""
    valid = statement_of(GetOrCreate(channel_id=channel_id, thread_ts=thread_ts, user_id="U1"))
    return replace(valid, params={**valid.params, "user_id": user_id})


def moving(channel_id: str, thread_ts: str, status: Status) -> Statement[SessionResult]:
    return statement_of(UpdateStatus(channel_id=channel_id, thread_ts=thread_ts, status=status))


def syncing(channel_id: str, thread_ts: str, jira_key: str) -> Statement[SessionResult]:
    return statement_of(MarkSynced(channel_id=channel_id, thread_ts=thread_ts, jira_key=jira_key))


def made(command: type[Validated[Any]], **arguments: Any) -> st.SearchStrategy[Statement[Any]]:
    return st.builds(command, **arguments).map(statement_of)


def sessions(count: int) -> list[Statement[SessionResult]]:
    return [opening("C1", f"{number:04}.1") for number in range(count)]


channels = st.sampled_from(CHANNELS)
threads = st.sampled_from(THREADS)
COMMANDS: Final = st.one_of(
    st.builds(opening, channels, threads, st.sampled_from(["U1", "U2"])),
    # Refused only if there is no session yet.
    st.builds(opening, channels, threads, st.just("no id")),
    st.builds(moving, channels, threads, st.sampled_from(["collecting", "ready_to_sync"])),
    st.builds(syncing, channels, threads, st.sampled_from(["PROJ-1", "PROJ-2"])),
    made(GetSession, channel_id=channels, thread_ts=threads),
    made(SessionById, session_id=st.just(UUID(int=1))),
    made(ListByChannel, channel_id=channels),
    made(AllSessions, status=st.sampled_from([None, "synced"])),
    made(GetContext, channel_id=channels),
    made(
        MergeContext,
        channel_id=channels,
        patch=st.sampled_from([{"a": 1}, {"a": None, "b": {"c": 2}}]),
        command_id=st.sampled_from([UUID(int=1), UUID(int=2), UUID(int=3)]),
    ),
)


def comparable(answer: Any) -> Any:
    """Reduce a result to the parts that are the same in each run."""
    if isinstance(answer, Exception):
        return type(answer).__name__, answer.args
    if isinstance(answer, SessionPage):
        return sorted(map(str, map(comparable, answer.sessions)))
    return answer and answer.model_dump(exclude=TIMES_AND_IDS)


def one_by_one(store: SessionStore, commands: Sequence[Statement[Any]]) -> list[Any]:
    answers: list[Any] = []
    for command in commands:
        try:
            answers.append(store.execute(command))
        except ThreadsyncError as exc:
            answers.append(exc)
    return answers


def empty(url: str) -> None:
    ask(as_owner(url), "TRUNCATE thread_sessions, channel_context, channel_context_commands CASCADE")


def rows(url: str) -> object:
    return ask(
        url,
        "SELECT json_agg(row ORDER BY row) FROM ("
        "SELECT concat_ws(' ', channel_id, thread_ts, user_id, status, jira_key) AS row FROM thread_sessions "
        "UNION ALL SELECT concat_ws(' ', channel_id, context_data, version) FROM channel_context) AS rows",
    )


@pytest.fixture
def other_url(postgres: PostgresForTests) -> Iterator[str]:
    """Create a second database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def other_store(other_url: str) -> Iterator[SessionStore]:
    with new_pool(other_url) as pool:
        # As of the fixture ``pool``: Hypothesis refuses a connection that comes while it draws.
        pool.wait()
        yield SessionStore(pool)


@pytest.mark.bounded
@given(commands=st.lists(COMMANDS, max_size=16), at_once=st.integers(1, 16))
@settings(max_examples=bounded(100, 20), suppress_health_check=list(HealthCheck))
async def test_a_batch_is_as_good_as_one_by_one(
    any_store: AsyncSessionStore,
    database_url: str,
    other_store: SessionStore,
    other_url: str,
    commands: list[Statement[Any]],
    at_once: int,
) -> None:
    """A batch gives the same results and rows as its commands one by one, whatever its size."""
    empty(database_url)
    empty(other_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "STATEMENTS_AT_ONCE", at_once)
        answers = await any_store.execute_many(commands)
    expected = one_by_one(other_store, commands)
    assert [comparable(answer) for answer in answers] == [comparable(answer) for answer in expected]
    assert rows(database_url) == rows(other_url)


async def test_errors_are_answers(any_store: AsyncSessionStore) -> None:
    """Each failed command of a batch has its error in its place, and the others have their results."""
    answers = await any_store.execute_many(
        [
            moving("C1", "1.1", "ready_to_sync"),
            opening("C1", "1.1"),
            syncing("C1", "1.1", "PROJ-1"),
            opening("C1", "2.1", user_id="no id"),
            syncing("C1", "1.1", "PROJ-2"),
        ]
    )
    assert isinstance(answers[0], SessionNotFound)
    assert isinstance(answers[1], SessionResult)
    assert isinstance(answers[2], SessionResult)
    assert (answers[1].outcome, answers[2].outcome) == ("created", "applied")
    assert isinstance(answers[3], InvalidCommand)
    assert str(answers[3]) == "user_id: must be a Slack id, 1 to 64 characters"
    assert isinstance(answers[3].__cause__, psycopg.errors.CheckViolation)
    assert isinstance(answers[4], JiraKeyConflict)


@pytest.mark.parametrize("place", [0, 57, 99])
async def test_one_refused_in_a_hundred_fails_alone(any_store: AsyncSessionStore, place: int) -> None:
    """One refused command among a hundred, first, last or in the middle, fails alone."""
    commands = sessions(100)
    commands[place] = opening("C1", f"{place:04}.1", user_id="no id")
    answers = await any_store.execute_many(commands)
    assert isinstance(answers.pop(place), InvalidCommand)
    assert {answer.outcome for answer in answers if isinstance(answer, SessionResult)} == {"created"}
    assert len([answer for answer in answers if isinstance(answer, SessionResult)]) == 99


@pytest.mark.parametrize("count", [2, 100])
async def test_what_the_driver_refuses_fails_alone(any_store: AsyncSessionStore, count: int) -> None:
    """A command that the driver refuses fails alone; those that were sent before it are run once."""
    commands: list[Statement[Any]] = [replace(one, for_many=None) for one in sessions(count)]
    commands[-1] = replace(commands[-1], params={**commands[-1].params, "user_id": "U\x00"})
    answers = await any_store.execute_many(commands)
    assert isinstance(answers.pop(), InvalidCommand)
    outcomes = [answer.outcome for answer in answers if isinstance(answer, SessionResult)]
    assert outcomes == ["created"] * (count - 1)


async def test_all_refused(any_store: AsyncSessionStore, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred refused commands have an error each, the store works afterwards, the driver logs nothing."""
    answers = await any_store.execute_many([opening("C1", f"{number}.1", "no id") for number in range(100)])
    assert {type(answer) for answer in answers} == {InvalidCommand}
    assert (await any_store.get_or_create_session("C1", "1.1", "U1")).outcome == "created"
    assert caplog.records == []


async def test_a_list_sees_what_was_before_it(any_store: AsyncSessionStore) -> None:
    """A list in a batch sees the commands before it and not those after it."""
    listing = statement_of(ListByChannel(channel_id="C1"))
    commands: list[Statement[Any]] = [listing, opening("C1", "2.1"), listing, opening("C1", "1.1"), listing]
    pages = (await any_store.execute_many(commands))[::2]
    assert [len(page.sessions) for page in pages if isinstance(page, SessionPage)] == [0, 1, 2]


async def test_nothing_to_run(any_store: AsyncSessionStore) -> None:
    """An empty batch returns an empty list."""
    assert await any_store.execute_many([]) == []


async def test_opposite_orders(
    any_store: AsyncSessionStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches over the same rows in opposite order end without a deadlock."""
    monkeypatch.setattr(pipeline, "TRIES", 1)
    commands = sessions(200)
    await any_store.execute_many(commands)
    there = [moving("C1", f"{number:04}.1", "ready_to_sync") for number in range(200)]
    with psycopg.connect(database_url) as lock:
        lock.execute("SELECT FROM thread_sessions WHERE thread_ts = '0100.1' FOR UPDATE")
        running = [asyncio.create_task(any_store.execute_many(batch)) for batch in (there, there[::-1])]
        await asyncio.to_thread(wait_until, lambda: ask(database_url, WAITING) == 2, "both wait")
        lock.rollback()
        first, second = await asyncio.gather(*running)
    outcomes = [
        {answer.outcome for answer in pair if isinstance(answer, SessionResult)}
        for pair in zip(first, reversed(second), strict=True)
    ]
    assert outcomes == [{"applied", "unchanged"}] * 200


def fail_inserts(url: str, times: int, code: str) -> None:
    """Make the database refuse the first inserts with this code, counted by a sequence."""
    owner = as_owner(url)
    ask(owner, "CREATE SEQUENCE attempts")
    refuse = f"RAISE EXCEPTION 'lost the race' USING ERRCODE = '{code}'"
    body = f"BEGIN IF nextval('attempts') <= {times} THEN {refuse}; END IF; RETURN NEW; END"
    with psycopg.connect(owner) as connection:
        # With its owner's rights: no worker may use that sequence.
        function = f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $${body}$$"
        connection.execute(function.encode())
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON thread_sessions EXECUTE FUNCTION fail()")


@pytest.mark.parametrize("code", ["40P01", "40001"], ids=["deadlock", "serialization"])
async def test_a_lost_race_is_run_again(any_store: AsyncSessionStore, database_url: str, code: str) -> None:
    """A batch that loses a race is run again and succeeds."""
    fail_inserts(database_url, pipeline.TRIES - 1, code)
    answers = await any_store.execute_many(sessions(10))
    assert [answer.outcome for answer in answers if isinstance(answer, SessionResult)] == ["created"] * 10


async def test_races_are_not_run_for_ever(any_store: AsyncSessionStore, database_url: str) -> None:
    """A batch that keeps losing races raises DatabaseUnavailable after its last try and writes nothing."""
    fail_inserts(database_url, 1000, "40P01")
    with pytest.raises(DatabaseUnavailable, match="lost the race"):
        await any_store.execute_many(sessions(10))
    assert ask(database_url, "SELECT count(*) FROM thread_sessions") == 0
    assert ask(as_owner(database_url), "SELECT last_value FROM attempts") == pipeline.TRIES


@pytest.fixture(params=["SessionStore", "AsyncSessionStore"])
async def mortal_store(
    request: pytest.FixtureRequest, own_postgres: EmbeddedPostgres
) -> AsyncIterator[AsyncSessionStore]:
    """Yield each store on a server that the test may kill."""
    if request.param == "SessionStore":
        with new_pool(own_postgres.url) as pool:
            yield awaitable(SessionStore(pool))
    else:
        async with new_async_pool(own_postgres.url) as async_pool:
            yield AsyncSessionStore(async_pool)


async def test_postgres_is_killed_in_the_middle(
    own_postgres: EmbeddedPostgres, mortal_store: AsyncSessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch during which Postgres is killed raises DatabaseUnavailable and writes nothing."""
    with closing(psycopg.connect(own_postgres.url)) as obstacle:
        insert = "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES ('C1', '0100.1', 'U2')"
        obstacle.execute(insert)
        batch = asyncio.create_task(mortal_store.execute_many(sessions(200)))
        await asyncio.to_thread(wait_until, lambda: ask(own_postgres.url, WAITING), "the batch waits")
        own_postgres.kill()
        with pytest.raises(DatabaseUnavailable):
            await batch
    own_postgres.start()
    assert ask(own_postgres.url, "SELECT count(*) FROM thread_sessions") == 0
    answers = await mortal_store.execute_many(sessions(200))
    assert {answer.outcome for answer in answers if isinstance(answer, SessionResult)} == {"created"}
    assert ask(own_postgres.url, "SELECT count(*) FROM thread_sessions") == 200
    assert [record for record in caplog.records if record.name == "psycopg"] == []


async def test_a_database_without_tables(empty_database_url: str) -> None:
    """A batch on a database without tables raises DatabaseUnavailable as a whole and names the remedy."""
    with new_pool(empty_database_url) as pool, pytest.raises(DatabaseUnavailable, match="threadsync migrate"):
        SessionStore(pool).execute_many(sessions(3))


@pytest.mark.parametrize("prepared", ["true", "false"])
@pytest.mark.parametrize(
    ("statements", "executed", "texts"),
    [
        # Plans by key are asked for before the one statement for all.
        pytest.param(sessions(100), 2, 2, id="at once"),
        pytest.param([replace(one, for_many=None) for one in sessions(100)], 100, 1, id="pipeline"),
    ],
)
async def test_one_round_trip(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    prepared: str,
    statements: list[Statement[SessionResult]],
    executed: int,
    texts: int,
) -> None:
    """A batch of a hundred sends one Sync, so that the client waits once, and has each text parsed once."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", prepared)
    get_settings.cache_clear()
    trace = tmp_path / "trace"
    with new_pool(database_url, max_size=1) as pool, trace.open("w") as file:
        with pool.connection() as connection:
            connection.pgconn.trace(file.fileno())
        SessionStore(pool).execute_many(statements)
        with pool.connection() as connection:
            connection.pgconn.untrace()
    sent = re.findall(r"\tF\t\d+\t(\w+)", trace.read_text())
    assert (sent.count("Execute"), sent.count("Sync"), sent.count("Query")) == (executed, 1, 0)
    assert sent.count("Parse") == (texts if prepared == "true" else executed)

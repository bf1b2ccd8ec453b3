"""Connections that can no longer work, closed instead of going back to the pool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.support.relay import Relay
from tests.support.servers import PostgresForTests, ask
from tests.support.stores import awaitable
from threadsync.commands import GetOrCreate
from threadsync.config import get_settings
from threadsync.errors import DatabaseFault, DatabaseUnavailable
from worker.cli.health import database_verdict
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import new_async_pool, new_pool
from worker.db.statement import Statement


@pytest.fixture(params=["SessionStore", "AsyncSessionStore"])
async def one(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[AsyncSessionStore]:
    """Yield each store on a pool of one connection that has served a command."""
    if request.param == "SessionStore":
        with new_pool(database_url, max_size=1) as pool:
            store = awaitable(SessionStore(pool))
            await store.get_or_create_session("C1", "1.1", "U1")
            yield store
    else:
        async with new_async_pool(database_url, max_size=1) as async_pool:
            store = AsyncSessionStore(async_pool)
            await store.get_or_create_session("C1", "1.1", "U1")
            yield store


def backend(postgres: PostgresForTests, url: str) -> object:
    """Return the process id of the server process behind the store's connection."""
    statement = "SELECT max(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'threadsync'"
    return ask(postgres.url_of("postgres"), statement, urlsplit(url).path[1:])


async def first_refusal(store: AsyncSessionStore) -> DatabaseUnavailable:
    """Send commands until one is refused, and return its error."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            await store.get_or_create_session("C1", "1.2", "U1")
        except DatabaseUnavailable as exc:
            return exc
    raise AssertionError("no command was refused for 30 s")


async def fails_once(store: AsyncSessionStore, kind: type[DatabaseUnavailable], *, many: bool) -> None:
    command = GetOrCreate(channel_id="C1", thread_ts="1.2", user_id="U1")
    with pytest.raises(kind):
        await (store.run_many([command] * 3) if many else store.run(command))
    result = await store.get_or_create_session("C1", "1.3", "U1")
    assert result.outcome == "created"


@pytest.mark.parametrize("many", [False, True])
async def test_plans_that_do_not_fit_any_more(
    postgres: PostgresForTests, database_url: str, one: AsyncSessionStore, many: bool
) -> None:
    """A command whose prepared plan no longer fits (0A000) fails once; the next has a new connection."""
    if many:
        await one.run_many([GetOrCreate(channel_id="C1", thread_ts="1.1", user_id="U1")] * 3)
    ask(
        postgres.for_administrator(database_url), "ALTER TABLE thread_sessions ALTER user_id TYPE varchar(64)"
    )
    await fails_once(one, DatabaseFault, many=many)


async def test_a_prepared_statement_that_is_gone(
    postgres: PostgresForTests, database_url: str, one: AsyncSessionStore
) -> None:
    """A command whose prepared statement was deallocated (26000) fails once; the next one works."""
    forget: LiteralString = """
        CREATE FUNCTION forget() RETURNS int LANGUAGE plpgsql
        AS 'BEGIN EXECUTE ''DEALLOCATE ALL''; RETURN 1; END'
    """
    ask(postgres.for_administrator(database_url), forget)
    await one.execute(Statement("SELECT forget()", {}, lambda rows: rows))
    with pytest.raises(DatabaseFault, match="InvalidSqlStatementName"):
        await one.get_or_create_session("C1", "1.2", "U1")
    assert (await one.get_or_create_session("C1", "1.2", "U1")).outcome == "created"


async def test_a_server_that_became_read_only(
    postgres: PostgresForTests, database_url: str, one: AsyncSessionStore
) -> None:
    """A server that turned read-only fails one command, and then its connection is replaced."""
    before = backend(postgres, database_url)
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        administrator.execute("SELECT pg_reload_conf()")
        try:
            refused = await first_refusal(one)
        finally:
            administrator.execute("SET default_transaction_read_only = off")
            administrator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            administrator.execute("SELECT pg_reload_conf()")
    assert "read-only" in str(refused)
    assert (await one.get_or_create_session("C1", "1.3", "U1")).outcome == "created"
    assert backend(postgres, database_url) != before


REASONS: dict[str, tuple[Callable[[str], str], str]] = {
    "password": (lambda url: url.replace("of-these-tests", "a-wrong-one"), "authentication failed"),
    "database": (lambda url: url.rpartition("/")[0] + "/nowhere", '"nowhere" does not exist'),
    "name": (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "nowhere.invalid"),
    "TLS": (lambda url: f"{url}?sslmode=require", "SSL"),
    "start-up option": (lambda url: f"{url}?options=-cno_such_setting%3D1", "no_such_setting"),
    "nobody there": (lambda url: url.replace(urlsplit(url).netloc.split(":")[-1], "1"), "refused"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_pools_time_out_says_why(database_url: str, reason: str) -> None:
    """A pool that cannot connect raises DatabaseUnavailable with the server's reason."""
    wrong, words = REASONS[reason]
    with new_pool(wrong(database_url), max_size=1) as pool:
        pool.timeout = 0.7  # seconds; each of these servers answers at once
        with pytest.raises(DatabaseUnavailable, match=f"(?s)PoolTimeout.*{words}"):
            SessionStore(pool).get_session_by_thread("C1", "1.1")


async def test_the_asyncio_pools_time_out_says_why(database_url: str) -> None:
    """An asyncio pool that cannot connect raises DatabaseUnavailable with the server's reason."""
    wrong, words = REASONS["password"]
    async with new_async_pool(wrong(database_url)) as pool:
        with pytest.raises(DatabaseUnavailable, match=f"(?s)PoolTimeout.*{words}"):
            await AsyncSessionStore(pool).get_session_by_thread("C1", "1.1")


def test_health_says_why_the_database_is_away(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check names the reason when the database is away, and says nothing of it otherwise."""
    wrong, words = REASONS["password"]
    for url, said in ((database_url, {}), (wrong(database_url), {"database": "away"})):
        monkeypatch.setenv("DATABASE_URL", url)
        get_settings.cache_clear()
        verdicts = database_verdict()
        assert {name: verdict.state for name, verdict in verdicts.items()} == said
    assert words in verdicts["database"].why


async def test_a_server_that_falls_silent_is_left_for_another(database_url: str) -> None:
    """A server that stops responding fails one command; the next uses the URL's other host."""
    parts = urlsplit(database_url)
    login, _, address = parts.netloc.rpartition("@")
    with Relay(parts.port or 0) as relay:
        url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{relay.port},{address}"))
        with new_pool(url, max_size=1) as pool:
            store = SessionStore(pool)
            store.get_or_create_session("C1", "1.1", "U1")
            relay.is_silent = True
            assert "no answer within 5.5 s" in str(await first_refusal(awaitable(store)))
            assert store.get_or_create_session("C1", "1.1", "U1").outcome == "unchanged"

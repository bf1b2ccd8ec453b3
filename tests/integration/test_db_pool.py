"""The pool: its own in a forked child, working again after Postgres returns, clear about each fault."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.support.servers import PostgresForTests, ask
from tests.support.stores import awaitable
from tests.support.waiting import wait_until
from threadsync.config import get_settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings
from worker.db import AsyncSessionStore, SessionStore, close_db, get_connection, init_db
from worker.db.pool import new_async_pool, new_pool, single_connection

FORKED = """
import os, sys
from worker.db import get_connection, init_db

def backend():
    with get_connection() as connection:
        return connection.execute("SELECT pg_backend_pid() AS pid").fetchone()["pid"]

pool, before = init_db(max_size=1), backend()
child = os.fork()
if child == 0:
    sys.exit(0 if backend() != before and init_db() is not pool else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child has the parent's pool"
assert backend() == before, "the parent lost its connection"
"""


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresForTests]:
    """Start a Postgres server that the tests may stop."""
    mortal = PostgresForTests(tmp_path_factory.mktemp("mortal"))
    try:
        mortal.start()
        yield mortal
    finally:
        mortal.stop()


@pytest.fixture
def mortal_url(mortal: PostgresForTests) -> Iterator[str]:
    with mortal.database() as url:
        yield url


@pytest.fixture(params=["SessionStore", "AsyncSessionStore"])
async def mortal_store(request: pytest.FixtureRequest, mortal_url: str) -> AsyncIterator[AsyncSessionStore]:
    if request.param == "SessionStore":
        with new_pool(mortal_url) as pool:
            yield awaitable(SessionStore(pool))
    else:
        async with new_async_pool(mortal_url) as async_pool:
            yield AsyncSessionStore(async_pool)


async def answers(store: AsyncSessionStore) -> bool:
    try:
        await store.get_session_by_thread("C1", "1.1")
    except DatabaseUnavailable:
        return False
    return True


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_the_first_command_after_a_restart_works(
    mortal: PostgresForTests, mortal_store: AsyncSessionStore, how: str
) -> None:
    """The first command after a restart of Postgres works, although the pool's connections had ended."""
    await mortal_store.get_or_create_session("C1", "1.1", "U1")
    getattr(mortal.server, how)()
    mortal.server.start()
    assert (await mortal_store.get_or_create_session("C1", "1.1", "U1")).outcome == "unchanged"


async def test_an_absence_is_said_in_time_and_ends_by_itself(
    mortal: PostgresForTests, mortal_store: AsyncSessionStore
) -> None:
    """A missing Postgres raises DatabaseUnavailable within 3 s each time; once it is back, the pool works."""
    assert await answers(mortal_store)
    mortal.server.kill()
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await mortal_store.get_or_create_session("C1", "1.1", "U1")
        assert time.monotonic() - begun < 3
    mortal.server.start()
    begun = time.monotonic()
    while not await answers(mortal_store):
        assert time.monotonic() - begun < 5, "the pool is back"


async def test_a_connection_that_dies_under_a_command(
    mortal_url: str, mortal_store: AsyncSessionStore
) -> None:
    """A command whose connection dies raises DatabaseUnavailable; the next has another connection."""
    await mortal_store.get_or_create_session("C1", "1.1", "U1")
    with psycopg.connect(mortal_url) as lock:
        lock.execute("SELECT FROM thread_sessions FOR UPDATE")
        command = asyncio.create_task(mortal_store.mark_synced("C1", "1.1", "PROJ-1"))
        waiting = "SELECT max(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await asyncio.to_thread(
            wait_until, lambda: ask(mortal_url, waiting), "the command waits for the lock"
        )
        ask(mortal_url, "SELECT pg_terminate_backend(%s)", ask(mortal_url, waiting))
        with pytest.raises(DatabaseUnavailable) as failure:
            await command
    assert isinstance(failure.value.__cause__, psycopg.OperationalError)
    assert (await mortal_store.mark_synced("C1", "1.1", "PROJ-1")).outcome == "applied"


def test_a_silent_server_costs_two_seconds() -> None:
    """A server that accepts connections and never answers raises DatabaseUnavailable within 3 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        with new_pool(url) as pool:
            begun = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                SessionStore(pool).get_session_by_thread("C1", "1.1")
            assert time.monotonic() - begun < 3


def test_a_forked_child_has_a_pool_of_its_own(process_env: dict[str, str]) -> None:
    """A forked child opens a pool of its own and leaves the parent's alone."""
    # Since 3.12 Python warns of a fork in a process with threads, such as a pool's; Celery forks anyway.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, env=process_env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_has_one_pool(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init_db` returns the open pool; after `close_db` a store opens a new one."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    pool = init_db()
    assert init_db() is pool
    with get_connection() as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    close_db()
    close_db()
    assert pool.closed
    assert SessionStore().get_or_create_session("C1", "1.1", "U1").outcome == "created"


async def test_the_asyncio_store_opens_its_pool_itself(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asyncio store opens its pool at the first of ten concurrent calls and can be used after close."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    store = AsyncSessionStore()
    calls = (store.get_or_create_session("C1", f"{n}.1", "U1") for n in range(1, 11))
    assert {result.outcome for result in await asyncio.gather(*calls)} == {"created"}
    await store.close()
    async with store:
        assert len((await store.list_sessions_by_channel("C1")).sessions) == 10


def test_without_a_database_the_setting_is_named() -> None:
    """Without DATABASE_URL the error names the setting."""
    with pytest.raises(InvalidSettings, match="DATABASE_URL: is not set"):
        init_db()


@pytest.mark.parametrize("url", ["postgresql://u:topsecret@h/d?x=y", "postgresql://u:topsecret@[::1/d?x=y"])
def test_an_unreadable_url_is_not_repeated(url: str) -> None:
    """The error about an unreadable URL does not repeat its password."""
    with pytest.raises(InvalidSettings, match="DATABASE_URL") as refusal:
        new_pool(url)
    assert "topsecret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_single_connection_says_why_it_failed(database_url: str) -> None:
    """A single connection's error says whether the database is unknown or the password wrong."""
    with (
        pytest.raises(DatabaseUnavailable, match='"nowhere" does not exist'),
        single_connection(database_url.rpartition("/")[0] + "/nowhere"),
    ):
        pass
    with (
        pytest.raises(DatabaseUnavailable, match="password authentication failed"),
        single_connection(
            database_url.replace("://", "://u:guess@")
            .replace("@", "-", 1)
            .replace("u:guess-", "threadsync:guess-")
        ),
    ):
        pass


def test_a_database_without_tables_says_what_to_do(empty_database_url: str) -> None:
    """A command on a database without tables raises DatabaseUnavailable and names the remedy."""
    with new_pool(empty_database_url) as pool, pytest.raises(DatabaseUnavailable, match="threadsync migrate"):
        SessionStore(pool).get_or_create_session("C1", "1.1", "U1")


def test_a_statement_cannot_hang(database_url: str) -> None:
    """A command that waits for a lock ends at lock_timeout with DatabaseUnavailable."""
    with new_pool(database_url) as pool:
        SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
    with (
        psycopg.connect(database_url) as lock,
        new_pool(f"{database_url}?options=-clock_timeout%3D50") as pool,
    ):
        lock.execute("SELECT FROM thread_sessions FOR UPDATE")
        with pytest.raises(DatabaseUnavailable, match="LockNotAvailable"):
            SessionStore(pool).mark_synced("C1", "1.1", "PROJ-1")


def test_time_limits_are_set(database_url: str) -> None:
    """A connection has limits of 5 s for a statement and 3 s for a lock, unless the URL sets others."""
    assert settings_of(database_url) == ("5s", "3s", "threadsync")
    own = f"{database_url}?options=-cstatement_timeout%3D7s&application_name=mine"
    assert settings_of(own) == ("7s", "3s", "mine")


def settings_of(url: str) -> tuple[str, ...]:
    names = ("statement_timeout", "lock_timeout", "application_name")
    with single_connection(url) as connection:
        rows = [
            connection.execute("SELECT current_setting(%s) AS value", [name]).fetchone() for name in names
        ]
    return tuple(str(dict(row or {})["value"]) for row in rows)


@pytest.mark.parametrize(("setting", "prepared"), [("true", True), ("false", False)])
def test_prepared_statements_can_be_turned_off(
    database_url: str, monkeypatch: pytest.MonkeyPatch, setting: str, prepared: bool
) -> None:
    """Commands are prepared by default, and not with DATABASE_PREPARED_STATEMENTS=false."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", setting)
    get_settings.cache_clear()
    with new_pool(database_url, max_size=1) as pool:
        store = SessionStore(pool)
        for _ in range(3):
            store.get_or_create_session("C1", "1.1", "U1")
        with pool.connection() as connection:
            found = connection.execute(
                "SELECT count(*) > 0 AS any FROM pg_prepared_statements WHERE statement LIKE '%INSERT INTO%'"
            ).fetchone()
    assert found == {"any": prepared}

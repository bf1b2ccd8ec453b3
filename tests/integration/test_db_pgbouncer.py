"""PgBouncer in transaction mode with ``DATABASE_PREPARED_STATEMENTS=false``, and misconfigured ones.

PgBouncer is in no wheel: these tests run where ``pgbouncer`` is installed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.sql import SQL, Identifier, Literal
from pydantic import SecretStr

from tests.support.servers import PostgresForTests, ask
from threadsync.channel_settings.resolution import Defaults, Sourced
from threadsync.config import Settings, get_settings
from threadsync.errors import DatabaseFault, DatabaseUnavailable
from worker.db import AsyncSessionStore, SessionStore
from worker.db.driver_errors import translate
from worker.db.pool import new_async_pool, new_pool, single_connection
from worker.db.syncs.store import SyncStore
from worker.doctor.database import examine_database
from worker.doctor.finding import Finding
from worker.local.servers.identity import unprivileged
from worker.local.servers.port import free_port
from worker.local.service import CommandService

PGBOUNCER = shutil.which("pgbouncer")
CONFIGURATION = """
[databases]
threadsync = host=127.0.0.1 port={port} dbname={dbname} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
default_pool_size = 2
max_client_conn = 100
{more}
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@contextmanager
def bouncer(database_url: str, folder: Path, *more: str) -> Iterator[str]:
    """Yield the address of a PgBouncer before the database, with these lines in its settings."""
    port = free_port()
    config = folder / "pgbouncer.ini"
    parameters = {**conninfo_to_dict(database_url), "listen_port": port, "more": "\n".join(more)}
    config.write_text(CONFIGURATION.format(**parameters))
    unprivileged().hand_over(folder)
    url = f"postgresql://anybody@127.0.0.1:{port}/threadsync"
    process = CommandService(
        "pgbouncer",
        [*unprivileged().prefix, str(PGBOUNCER), str(config)],
        log_path=folder / "pgbouncer.log",
        ready=lambda _: takes_connections(url),
    )
    process.start()
    try:
        yield url
    finally:
        process.stop()


@pytest.fixture(autouse=True)
def _without_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    with_prepares(monkeypatch, "false")


def with_prepares(monkeypatch: pytest.MonkeyPatch, value: str = "true") -> None:
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", value)
    get_settings.cache_clear()


@pytest.fixture
def bouncer_url(empty_database_url: str, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a PgBouncer that shares its few server connections among all clients."""
    with bouncer(empty_database_url, tmp_path, "pool_mode = transaction") as url:
        yield url


def takes_connections(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def test_everything_works(bouncer_url: str) -> None:
    """Migrations, commands, pages and merges work behind PgBouncer and leave no prepared statement."""
    with new_pool(bouncer_url, max_size=8) as pool:
        store = SessionStore(pool)
        store.create_tables()
        assert store.get_or_create_session("C1", "1.1", "U1").outcome == "created"
        assert store.update_status("C1", "1.1", "ready_to_sync").outcome == "applied"
        assert store.mark_synced("C1", "1.1", "PROJ-1").outcome == "applied"
        assert store.merge_channel_context("C1", {"a": 1}, uuid4()).outcome == "created"
        assert len(store.list_sessions_by_channel("C1").sessions) == 1
    assert ask(bouncer_url, "SELECT count(*) FROM pg_prepared_statements") == 0


async def test_many_clients_share_two_connections(bouncer_url: str) -> None:
    """A hundred concurrent commands over eight clients create one row and raise no error."""
    with new_pool(bouncer_url) as sync_pool:
        SessionStore(sync_pool).create_tables()
    async with new_async_pool(bouncer_url, min_size=8, max_size=8) as pool:
        store = AsyncSessionStore(pool)
        results = await asyncio.gather(*(store.get_or_create_session("C1", "1.1", "U1") for _ in range(100)))
    assert sorted(result.outcome for result in results) == ["created"] + ["unchanged"] * 99


def test_with_prepared_statements_the_reason_is_said(
    bouncer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With prepared statements, PgBouncer refuses the start-up parameter `options`, and the error says so."""
    with_prepares(monkeypatch)
    with pytest.raises(DatabaseUnavailable, match="options"), single_connection(bouncer_url):
        pass


def test_a_pool_says_the_reason_too(bouncer_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's error names the refused parameter and the setting to change."""
    with_prepares(monkeypatch)
    with (
        new_pool(bouncer_url) as pool,
        pytest.raises(DatabaseUnavailable, match=r"options.*DATABASE_PREPARED_STATEMENTS=false"),
    ):
        SessionStore(pool).get_session_by_thread("C1", "1.1")


def test_what_it_keeps_for_a_client_is_set(
    bouncer_url: str, empty_database_url: str, postgres: PostgresForTests
) -> None:
    """Times are read as UTC behind PgBouncer, whatever DateStyle and TimeZone the database has."""
    database = Identifier(str(conninfo_to_dict(empty_database_url)["dbname"]))
    with psycopg.connect(postgres.for_administrator(empty_database_url), autocommit=True) as connection:
        for name, value in (("DateStyle", "German"), ("TimeZone", "Asia/Kolkata")):
            alter = SQL("ALTER DATABASE {} SET {} TO {}")
            connection.execute(alter.format(database, Identifier(name), Literal(value)))
    with new_pool(bouncer_url, min_size=4, max_size=4) as pool:
        store = SessionStore(pool)
        store.create_tables()
        sessions = [store.get_or_create_session("C1", f"{n}.1", "U1") for n in range(1, 9)]
    assert {session.created_at.utcoffset() for session in sessions} == {timedelta()}


def test_statement_mode_is_no_outage(database_url: str, tmp_path: Path) -> None:
    """PgBouncer in statement mode raises DatabaseFault, and error and doctor name the setting to change."""
    with bouncer(database_url, tmp_path, "pool_mode = statement") as url, new_pool(url, max_size=1) as pool:
        with pytest.raises(DatabaseFault, match="pool_mode = transaction"):
            begin_a_create(SyncStore(pool))
        assert SessionStore(pool).get_or_create_session("C1", "1.1", "U1").outcome == "created"
        found = database_finding(url)
    assert (found.level, "pool_mode = transaction" in found.fix) == ("error", True), found


def begin_a_create(store: SyncStore) -> None:
    claim: Any = SimpleNamespace(session_id=uuid4(), fence=1)
    store.begin_create(
        claim,
        site="s",
        project_key="P",
        defaults=Defaults(Sourced("P", "settings"), Sourced("Task", "settings")),
        baseline=0,
        at_once=1,
        deadline=1,
        turn=1,
        lease=1,
    )


def database_finding(url: str) -> Finding:
    return next(examine_database(Settings(database_url=SecretStr(url))))


def test_a_query_that_pgbouncer_ends_is_no_outage(database_url: str, tmp_path: Path) -> None:
    """A query that PgBouncer ends at its query_timeout raises DatabaseFault and names the setting."""
    settings = ("pool_mode = transaction", "query_timeout = 1")
    with (
        bouncer(database_url, tmp_path, *settings) as url,
        pytest.raises(DatabaseFault, match="raise query_timeout in PgBouncer"),
        single_connection(url) as connection,
    ):
        connection.execute("SELECT pg_sleep(4)")


def test_a_pool_that_is_used_up_is_an_outage(database_url: str, tmp_path: Path) -> None:
    """A PgBouncer pool with no free connection raises DatabaseUnavailable and names the setting."""
    settings = ("pool_mode = transaction", "default_pool_size = 1", "query_wait_timeout = 1")
    with (
        bouncer(database_url, tmp_path, *settings) as url,
        psycopg.connect(url) as other,
        other.transaction(),
        pytest.raises(DatabaseUnavailable, match="default_pool_size in PgBouncer") as failure,
        single_connection(url),
    ):
        pass
    assert not isinstance(failure.value, DatabaseFault)


def test_prepares_of_others_are_a_fault_that_says_what_to_set(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements that other clients prepared raise DatabaseFault; error and doctor name the setting."""
    with_prepares(monkeypatch)
    settings = ("pool_mode = transaction", "default_pool_size = 1", "ignore_startup_parameters = options")
    with bouncer(database_url, tmp_path, *settings) as url, single_connection(url) as connection:
        connection.execute("SELECT 1")
        with (
            new_pool(url, max_size=1) as pool,
            pytest.raises(DatabaseFault, match="DATABASE_PREPARED_STATEMENTS=false"),
        ):
            SessionStore(pool).get_session_by_thread("C1", "1.1")
        found = database_finding(url)
    assert (found.level, "DATABASE_PREPARED_STATEMENTS=false" in found.fix) == ("error", True), found


def test_a_database_that_pgbouncer_does_not_have(bouncer_url: str) -> None:
    """The doctor reports a database that PgBouncer does not know as an error about `[databases]`."""
    found = database_finding(bouncer_url.replace("/threadsync", "/nowhere"))
    assert (found.level, "[databases]" in found.fix) == ("error", True), found


def test_a_command_that_postgres_takes_for_out_of_step_is_no_outage(database_url: str) -> None:
    """The error 08P01 of Postgres itself is translated to DatabaseFault."""
    with single_connection(database_url) as connection:
        connection.pgconn.prepare(b"one", b"SELECT $1::int")
        error = error_from_result(connection.pgconn.exec_prepared(b"one", []))
    assert (type(translate(error)), error.sqlstate) == (DatabaseFault, "08P01")

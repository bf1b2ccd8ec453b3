"""Behind PgBouncer in transaction mode, with ``DATABASE_PREPARED_STATEMENTS=false``.

PgBouncer is in no wheel: these tests run where ``pgbouncer`` is installed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal

from tests.servers import PostgresForTests, ask
from worker.config import get_settings
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import new_async_pool, new_pool, single_connection
from worker.embedded.identity import unprivileged
from worker.embedded.port import free_port
from worker.errors import DatabaseUnavailable
from worker.service import CommandService

PGBOUNCER = shutil.which("pgbouncer")
CONFIGURATION = """
[databases]
threadsync = host=127.0.0.1 port={port} dbname={dbname} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture
def bouncer_url(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two server connections for everybody, so that clients share them all the time."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", "false")
    get_settings.cache_clear()
    port = free_port()
    config = tmp_path / "pgbouncer.ini"
    config.write_text(CONFIGURATION.format(**conninfo_to_dict(empty_database_url), listen_port=port))
    unprivileged().hand_over(tmp_path)
    url = f"postgresql://anybody@127.0.0.1:{port}/threadsync"
    bouncer = CommandService(
        "pgbouncer",
        [*unprivileged().prefix, str(PGBOUNCER), str(config)],
        log_path=tmp_path / "pgbouncer.log",
        ready=lambda: takes_connections(url),
    )
    bouncer.start()
    try:
        yield url
    finally:
        bouncer.stop()


def takes_connections(url: str) -> bool:
    try:
        return ask(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def test_everything_works(bouncer_url: str) -> None:
    """Migration, commands, pages and merges; and no prepare is left on a shared connection."""
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
    """A hundred commands at once over eight clients: one row, no error."""
    with new_pool(bouncer_url) as sync_pool:
        SessionStore(sync_pool).create_tables()
    async with new_async_pool(bouncer_url, min_size=8, max_size=8) as pool:
        store = AsyncSessionStore(pool)
        results = await asyncio.gather(*(store.get_or_create_session("C1", "1.1", "U1") for _ in range(100)))
    assert sorted(result.outcome for result in results) == ["created"] + ["unchanged"] * 99


def test_with_prepared_statements_the_reason_is_said(
    bouncer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgBouncer refuses the start-up parameter `options`, which carries our time limits."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", "true")
    get_settings.cache_clear()
    with pytest.raises(DatabaseUnavailable, match="options"), single_connection(bouncer_url):
        pass


def test_a_pool_says_the_reason_too(bouncer_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """516 times "PoolTimeout" hid it; and what to set stands beside it."""
    monkeypatch.setenv("DATABASE_PREPARED_STATEMENTS", "true")
    get_settings.cache_clear()
    with (
        new_pool(bouncer_url) as pool,
        pytest.raises(DatabaseUnavailable, match=r"options.*DATABASE_PREPARED_STATEMENTS=false"),
    ):
        SessionStore(pool).get_session_by_thread("C1", "1.1")


def test_what_it_keeps_for_a_client_is_set(
    bouncer_url: str, empty_database_url: str, postgres: PostgresForTests
) -> None:
    """Dates and times are read as they are, whatever the database says; the rest is in operations.md."""
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

"""Migrations: repeatable, safe from many processes at once, all or nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg
import pytest

from tests.support.servers import as_owner, ask
from threadsync.errors import SchemaMismatch
from worker.db import AsyncSessionStore, SessionStore
from worker.db.migrate import Migration, migrate, migrations
from worker.db.pool import new_async_pool, new_pool

NEWEST: Final = migrations()[-1].version
TABLES: Final = "SELECT coalesce(array_agg(relname::text), '{}') FROM pg_stat_user_tables"


def migrate_at(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        return migrate(connection)


def test_it_can_be_repeated(empty_database_url: str) -> None:
    """A repeated migration changes nothing and returns the same version."""
    assert migrate_at(empty_database_url) == NEWEST
    applied = ask(empty_database_url, "SELECT array_agg(threadsync_schema::text) FROM threadsync_schema")
    assert migrate_at(empty_database_url) == NEWEST
    assert (
        ask(empty_database_url, "SELECT array_agg(threadsync_schema::text) FROM threadsync_schema") == applied
    )
    names = ask(empty_database_url, "SELECT array_agg(name ORDER BY version) FROM threadsync_schema")
    assert names == [migration.name for migration in migrations()]


def test_many_at_once_apply_each_file_once(empty_database_url: str) -> None:
    """Eight concurrent migrations apply each file once and all return the newest version."""
    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(migrate_at, [empty_database_url] * 8))
    assert versions == [NEWEST] * 8
    assert ask(empty_database_url, "SELECT count(*) FROM threadsync_schema") == len(migrations())


def test_a_newer_schema_is_refused(database_url: str) -> None:
    """A schema newer than the code is refused with advice."""
    note = "INSERT INTO threadsync_schema (version, name) VALUES (9999, '9999_from_the_future.sql')"
    ask(as_owner(database_url), note)
    with pytest.raises(SchemaMismatch, match=r"at version 9999, this code knows .* newer threadsync"):
        migrate_at(as_owner(database_url))


def test_an_older_server_is_refused(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than the minimum is refused before any table is created."""
    monkeypatch.setattr("worker.db.migrate._MIN_SERVER", 990_000)
    with pytest.raises(SchemaMismatch, match="this server is 18"):
        migrate_at(empty_database_url)
    assert ask(empty_database_url, TABLES) == []


def test_a_failing_migration_leaves_nothing(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing migration leaves no table, and a later one starts from the beginning."""
    broken = Migration(NEWEST + 1, "broken.sql", "CREATE TABLE half (); SELECT 1 / 0;")
    monkeypatch.setattr("worker.db.migrate.migrations", lambda: [*migrations(), broken])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate_at(empty_database_url)
    assert ask(empty_database_url, TABLES) == []
    monkeypatch.undo()
    assert migrate_at(empty_database_url) == NEWEST


def test_an_upgrade_applies_only_what_is_missing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade applies the missing file once and keeps existing rows."""
    ask(database_url, "INSERT INTO redeliveries (task_id, task_name, deliveries) VALUES ('1', 'x', 2)")
    added = Migration(NEWEST + 1, "added.sql", "ALTER TABLE redeliveries ADD COLUMN note text DEFAULT 'new';")
    monkeypatch.setattr("worker.db.migrate.migrations", lambda: [*migrations(), added])
    owner = as_owner(database_url)
    assert migrate_at(owner) == migrate_at(owner) == NEWEST + 1
    assert ask(database_url, "SELECT note FROM redeliveries") == "new"


def test_the_store_migrates_on_its_pool(empty_database_url: str) -> None:
    """`create_tables` works on a pooled connection, whose statements are prepared."""
    with new_pool(empty_database_url) as pool:
        store = SessionStore(pool)
        assert store.create_tables() == store.create_tables() == NEWEST
        assert store.get_or_create_session("C1", "1.1", "U1").outcome == "created"


async def test_the_asyncio_store_migrates_too(empty_database_url: str) -> None:
    """The asyncio store's `create_tables` migrates, and the store works afterwards."""
    async with new_async_pool(empty_database_url) as pool:
        store = AsyncSessionStore(pool)
        assert await store.create_tables() == NEWEST
        assert (await store.get_or_create_session("C1", "1.1", "U1")).outcome == "created"

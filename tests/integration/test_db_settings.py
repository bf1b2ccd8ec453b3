"""Settings of the server, the database, the login or the environment that must change nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from console.chart import SPANS
from tests.support.servers import PostgresForTests, as_owner, ask
from tests.support.stores import awaitable
from threadsync.errors import CommandFailed, DatabaseFault, SchemaMismatch
from threadsync.syncs import Draft
from worker.db import AsyncSessionStore, SessionStore
from worker.db.connection import START_UP_SETTINGS
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.migrate import migrate
from worker.db.overview.sql import COUNT_STEPS
from worker.db.overview.store import OverviewStore
from worker.db.pool import new_async_pool, new_pool, single_connection

STRANGE: dict[LiteralString, LiteralString] = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Chatham",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "transaction_timeout": "1ms",
    "search_path": "decoy, public",
    "plan_cache_mode": "force_generic_plan",
    "row_security": "off",
    "jit_above_cost": "0",
}


@pytest.fixture
def strange_url(postgres: PostgresForTests, database_url: str) -> str:
    """Give a database unusual settings and a search_path with decoy tables before ours."""
    administrator = postgres.for_administrator(database_url)
    database = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA decoy")
        connection.execute("CREATE TABLE decoy.thread_sessions (nothing_of text, what_is_ours text)")
        connection.execute("CREATE TABLE decoy.syncs ()")
        connection.execute(
            "GRANT ALL ON ALL TABLES IN SCHEMA decoy TO public; GRANT USAGE ON SCHEMA decoy TO public"
        )
        for name, value in STRANGE.items():
            name_ = psycopg.sql.Identifier(name)
            # A list of names, not a text.
            value_ = psycopg.sql.SQL(value) if name == "search_path" else psycopg.sql.Literal(value)
            statement = psycopg.sql.SQL("ALTER DATABASE {} SET {} TO {}")
            connection.execute(statement.format(psycopg.sql.Identifier(str(database)), name_, value_))
    return database_url


@pytest.mark.parametrize("kind", ["SessionStore", "AsyncSessionStore"])
async def test_strange_settings_change_nothing(strange_url: str, kind: str) -> None:
    """Commands, lists, contexts in any script, and times are right on a database with unusual settings."""
    if kind == "SessionStore":
        with new_pool(strange_url) as pool:
            await conversation(awaitable(SessionStore(pool)))
    else:
        async with new_async_pool(strange_url) as async_pool:
            await conversation(AsyncSessionStore(async_pool))


async def conversation(store: AsyncSessionStore) -> None:
    created = await store.get_or_create_session("C1", "1.1", "U1")
    assert created.outcome == "created"
    assert created.created_at.utcoffset() is not None
    assert created.created_at.utcoffset() == created.updated_at.utcoffset()
    assert not created.created_at.utcoffset(), "UTC, whatever the server's time zone is"
    draft = Draft(summary="Пожар 🔥 \\d 'quoted'", description="naïve — €")
    assert (await store.request_sync("C1", "1.1", draft, "1.2")).outcome == "applied"
    assert (await store.mark_synced("C1", "1.1", "PROJ-1")).outcome == "applied"
    data = {"weather": "🌧", "temperature": 0.1, "none": [None], "path": "C:\\new"}
    merged = await store.merge_channel_context("C1", data, uuid4())
    assert merged.context_data == data
    page = await store.list_sessions_by_channel("C1", limit=1)
    assert [session.jira_key for session in page.sessions] == ["PROJ-1"]


def test_operators_see_the_same(strange_url: str) -> None:
    """Counts, charts and the bytes of dead letters are right on a database with unusual settings."""
    with new_pool(strange_url) as pool:
        SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
        assert OverviewStore(pool).counts().sessions["collecting"] == 1
        assert sum(OverviewStore(pool).steps_over_time(3600, 60)["opened"].values()) == 1
        letters = DeadLetterStore(pool)
        letter = letters.bury(
            Letter(
                task_id="1",
                task_name="x",
                queue="q",
                error=CommandFailed("\\x41"),
                attempts=1,
                body=b"\\x\x00\xff",
            )
        )
        assert letters.get(letter).body == b"\\x\x00\xff"


def test_every_setting_holds_against_the_database(strange_url: str) -> None:
    """Our connection settings hold against those of the database and of the URL."""
    url = f"{strange_url}?options=-cTimeZone%3DAsia/Kolkata&client_encoding=latin1"
    with single_connection(url) as connection:
        found = {
            name: dict(connection.execute("SELECT current_setting(%s) AS v", [name]).fetchone() or {})["v"]
            for name in (*START_UP_SETTINGS, "client_encoding", "search_path")
        }
    assert found.pop("search_path") == "public"
    assert found.pop("client_encoding") == "UTF8"
    assert found.pop("DateStyle").startswith("ISO")
    assert found == {name: value for name, value in START_UP_SETTINGS.items() if name != "DateStyle"}


def test_the_environments_date_style_does_not_matter(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGTZ and PGDATESTYLE do not change how times are read."""
    monkeypatch.setenv("PGTZ", "America/St_Johns")
    monkeypatch.setenv("PGDATESTYLE", "SQL")
    with new_pool(database_url) as pool:
        session = SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
    assert not session.created_at.utcoffset()


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "Europe/Berlin"])
@pytest.mark.parametrize("span", SPANS)
def test_charts_have_their_buckets_in_every_time_zone(database_url: str, zone: str, span: str) -> None:
    """A counted step falls into a bucket of its chart in every time zone."""
    with new_pool(database_url) as pool:
        SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
    params = {"seconds": SPANS[span].seconds, "bucket": SPANS[span].bucket}
    with psycopg.connect(database_url, options=f"-c TimeZone={zone}") as connection:
        [(at, what, value)] = connection.execute(COUNT_STEPS, params).fetchall()
    assert (what, value) == ("opened", 1)
    assert at in SPANS[span].buckets(datetime.now(UTC))


def test_migrate_works_there_too(postgres: PostgresForTests, empty_database_url: str) -> None:
    """A migration works on a database with time limits of 1 ms and standard_conforming_strings off."""
    name = psycopg.sql.Identifier(str(conninfo_to_dict(empty_database_url)["dbname"]))
    with psycopg.connect(postgres.for_administrator(empty_database_url), autocommit=True) as connection:
        for setting in ("statement_timeout", "transaction_timeout", "lock_timeout"):
            alter = psycopg.sql.SQL("ALTER DATABASE {} SET {} TO '1ms'")
            connection.execute(alter.format(name, psycopg.sql.Identifier(setting)))
        off = psycopg.sql.SQL("ALTER DATABASE {} SET standard_conforming_strings TO off")
        connection.execute(off.format(name))
    with single_connection(as_owner(empty_database_url)) as connection:
        assert migrate(connection) == migrate(connection)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_without_unicode_is_refused_with_a_sentence(
    postgres: PostgresForTests, encoding: str
) -> None:
    """A migration refuses a database that is not encoded in UTF-8, with a sentence."""
    name = psycopg.sql.Identifier(f"in_{encoding.lower()}")
    administrator = postgres.url_of("postgres")
    create = psycopg.sql.SQL(
        "CREATE DATABASE {} ENCODING {} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(create.format(name, psycopg.sql.Literal(encoding)))
    try:
        with (
            single_connection(postgres.url_of(f"in_{encoding.lower()}")) as connection,
            pytest.raises(SchemaMismatch, match=f"encoded in {encoding},.*CREATE DATABASE"),
        ):
            migrate(connection)
    finally:
        with psycopg.connect(administrator, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_schema_without_create_is_named(postgres: PostgresForTests, empty_database_url: str) -> None:
    """A migration in a schema without CREATE raises DatabaseFault with the GRANT to run."""
    ask(
        postgres.for_administrator(empty_database_url),
        "REVOKE ALL ON SCHEMA public FROM public, pg_database_owner, threadsync_migrate",
    )
    with (
        single_connection(as_owner(empty_database_url)) as connection,
        pytest.raises(DatabaseFault, match="GRANT CREATE, USAGE ON SCHEMA"),
    ):
        migrate(connection)


def test_an_installation_in_another_schema_is_left_alone(
    postgres: PostgresForTests, database_url: str
) -> None:
    """An installation in another schema of the same database gets tables of its own."""
    administrator = postgres.for_administrator(database_url)
    ask(administrator, "CREATE SCHEMA app AUTHORIZATION threadsync_migrate")
    with single_connection(f"{as_owner(database_url)}?options=-csearch_path%3Dapp") as connection:
        migrate(connection)
    assert ask(administrator, "SELECT to_regclass('app.thread_sessions') IS NOT NULL")
    ask(administrator, "GRANT USAGE ON SCHEMA app TO threadsync_run")
    with new_pool(f"{database_url}?options=-csearch_path%3Dapp") as pool:
        assert SessionStore(pool).get_or_create_session("C1", "1.1", "U1").outcome == "created"
    assert ask(administrator, "SELECT count(*) FROM app.thread_sessions") == 1
    assert ask(administrator, "SELECT count(*) FROM public.thread_sessions") == 0

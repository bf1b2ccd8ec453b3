"""Least privilege: a worker changes rows and nothing else, a reader sees no word that people wrote.

The rest of the suite shows that it is enough: it uses its databases as a member of ``threadsync_run``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.servers import PostgresForTests, as_member, as_owner, ask
from worker.db import SessionStore
from worker.db.count_store import CountStore
from worker.db.migrate import migrate
from worker.db.pool import Pool, new_pool
from worker.db.roles import READ, RUN_PRIVILEGES, create_roles, readable_columns

TABLES = "SELECT array_agg(tablename ORDER BY tablename)::text[] FROM pg_tables WHERE schemaname = 'public'"
WRITTEN_BY_PEOPLE = {
    *("channel_context.context_data", "dead_letters.arguments", "dead_letters.body", "dead_letters.error"),
    *("dead_letters.actor", "dead_letters.reason", "syncs.draft", "syncs.detail", "sync_attempts.detail"),
    *("sync_actions.actor", "sync_actions.reason", "session_actions.actor", "session_actions.reason"),
    *("installation_actions.actor", "installation_actions.reason"),
}
"""Texts, and what quotes them; the names of those who decided, and why."""

DENIED = psycopg.errors.InsufficientPrivilege


def test_every_table_has_its_rights_listed(database_url: str) -> None:
    """So that a new one is not forgotten."""
    assert ask(as_owner(database_url), TABLES) == sorted(RUN_PRIVILEGES)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine ()",
        "DROP TABLE syncs",
        "ALTER TABLE syncs ADD COLUMN note text",
        "TRUNCATE thread_sessions",
        "DELETE FROM thread_sessions",
        "DELETE FROM syncs",
        "UPDATE sync_actions SET reason = 'x'",
        "DELETE FROM dead_letters",
        "INSERT INTO threadsync_schema (version, name) VALUES (9999, 'x')",
        "CREATE ROLE other",
    ],
)
def test_a_worker_may_not(database_url: str, statement: str) -> None:
    """Tables are not its own, and what must stay cannot be deleted."""
    with psycopg.connect(database_url) as connection, pytest.raises(DENIED):
        connection.execute(statement.encode())


def test_a_reader_sees_no_word_that_people_wrote(database_url: str, pool: Pool) -> None:
    """Counts, states and times; no draft, no arguments, no context; and changes nothing."""
    SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
    reader = as_member(database_url, READ)
    with new_pool(reader) as reading:
        assert CountStore(reading).counts().sessions["collecting"] == 1
    hidden = set()
    for table in RUN_PRIVILEGES:
        columns = ask(
            as_owner(database_url),
            "SELECT array_agg(column_name)::text[] FROM information_schema.columns WHERE table_name = %s",
            table,
        )
        assert isinstance(columns, list)
        with psycopg.connect(as_owner(database_url)) as connection:
            seen = readable_columns(connection, table)
        for column in columns:
            with psycopg.connect(reader) as connection:
                statement = SQL("SELECT {} FROM {} LIMIT 1").format(Identifier(column), Identifier(table))
                if column in seen:
                    connection.execute(statement)
                else:
                    hidden.add(f"{table}.{column}")
                    with pytest.raises(DENIED):
                        connection.execute(statement)
    assert hidden >= WRITTEN_BY_PEOPLE
    with psycopg.connect(reader) as connection, pytest.raises(DENIED):
        connection.execute("UPDATE thread_sessions SET user_id = 'U2'")


def test_a_new_column_with_text_is_hidden_until_it_is_known(database_url: str) -> None:
    """So that one that is forgotten is seen by too few, and not by too many."""
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE syncs ADD COLUMN note text, ADD COLUMN more jsonb, ADD COLUMN count int"
        )
        migrate(connection)
    reader = as_member(database_url, READ)
    assert ask(reader, "SELECT count(count) FROM syncs") == 0
    for column in (Identifier("note"), Identifier("more"), SQL("*")):
        with psycopg.connect(reader) as connection, pytest.raises(DENIED):
            connection.execute(SQL("SELECT {} FROM syncs").format(column))


def test_rights_come_with_each_migration(postgres: PostgresForTests, empty_database_url: str) -> None:
    """Tables belong to the group, whoever of it makes them; what somebody granted besides is taken away."""
    administrator = postgres.for_administrator(empty_database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        create_roles(connection)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        migrate(connection)
        connection.execute("GRANT DELETE ON syncs TO threadsync_run")
        connection.execute("REVOKE ALL ON thread_sessions FROM threadsync_run")
        migrate(connection)
    owners = "SELECT array_agg(DISTINCT tableowner)::text[] FROM pg_tables WHERE schemaname = 'public'"
    assert ask(administrator, owners) == ["threadsync_migrate"]
    assert ask(administrator, "SELECT has_table_privilege('threadsync_run', 'syncs', 'DELETE')") is False
    assert (
        ask(administrator, "SELECT has_table_privilege('threadsync_run', 'thread_sessions', 'INSERT')")
        is True
    )


def test_roles_may_be_created_again(postgres: PostgresForTests, database_url: str) -> None:
    """``threadsync roles`` prints what psql runs; twice does no harm."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "roles"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    with psycopg.connect(postgres.for_administrator(database_url), autocommit=True) as connection:
        for _ in range(2):
            connection.execute(done.stdout.encode())


def test_without_the_roles_a_migration_is_as_before(postgres: PostgresForTests, tmp_path: object) -> None:
    """Who does not want them need not have them: tables belong to whoever migrates."""
    with postgres.database(template="template1") as url:
        administrator = postgres.for_administrator(url)
        with psycopg.connect(administrator, autocommit=True) as connection:
            # Not in this schema, so they are of no use here.
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            migrate(connection)
        assert (
            ask(administrator, "SELECT tableowner::text FROM pg_tables WHERE tablename = 'syncs'")
            == "threadsync"
        )

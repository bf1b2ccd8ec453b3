"""Least privilege: a worker that changes rows only, and a reader that sees no text written by people.

These rights suffice: the rest of the suite uses its databases as a member of ``threadsync_run``.
"""

from __future__ import annotations

import os
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.support.command_runs import output, run_in
from tests.support.servers import PostgresForTests, as_member, as_owner, ask
from threadsync.syncs import Draft
from worker.db import SessionStore
from worker.db.console_login.functions import ConsolePool
from worker.db.console_login.sessions import ConsoleSession, ConsoleSessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.forgetting.store import ForgetStore
from worker.db.migrate import migrate, migrations
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool, new_pool
from worker.db.roles import CONSOLE, READ, RUN, RUN_PRIVILEGES, create_roles, readable_columns
from worker.operate import decisions

TABLES = "SELECT array_agg(tablename ORDER BY tablename)::text[] FROM pg_tables WHERE schemaname = 'public'"
WRITTEN_BY_PEOPLE = {
    *("channel_context.context_data", "dead_letters.arguments", "dead_letters.body", "dead_letters.error"),
    *("dead_letters.actor", "dead_letters.reason", "syncs.draft", "syncs.detail", "sync_attempts.detail"),
    *("sync_actions.actor", "sync_actions.reason", "session_actions.actor", "session_actions.reason"),
    *("installation_actions.actor", "installation_actions.reason"),
}
"""Columns with texts that people wrote or that quote them, with names of operators, and with reasons."""

WORD = "zebracrossing"
RELATIONS = """
SELECT c.oid::regclass::text, string_agg(quote_ident(a.attname), ', ')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
GROUP BY c.oid
"""
"""Every relation that the current login may read, with the columns that it may read."""

DECIDED_BEFORE = """
WITH session AS (
    INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES ('C1', '1.1', 'U1') RETURNING id
), sync AS (
    INSERT INTO syncs (session_id, draft, drafted_at, state, reason)
    SELECT id, '{"summary": "x"}', 1, 'failed', 'given_up' FROM session RETURNING session_id
), letter AS (
    INSERT INTO dead_letters (task_id, task_name, queue, arguments, error_type, error, attempts, state,
                              settled_at, actor, reason)
    VALUES ('1', 'x', 'sessions', '{}', 'x', 'x', 1, 'discarded', now(), 'Bob', 'x')
)
INSERT INTO sync_actions (session_id, at, action, actor, reason)
SELECT session_id, now() - interval '1 hour', 'give_up', 'Bob', 'x' FROM sync
"""
"""A sync that was given up and a dead letter that was discarded, in the tables of an earlier release."""

NOT_GIVEN = (
    ("threadsync_retain(integer, integer, integer, integer)", "threadsync_console"),
    ("threadsync_forget_settled()", "threadsync_read"),
    ("threadsync_console_retry(jsonb, text, text, uuid)", "threadsync_read"),
)
"""Functions, each with a role that may not call it."""

DENIED = psycopg.errors.InsufficientPrivilege


def test_every_table_has_its_rights_listed(database_url: str) -> None:
    """Every table has its rights listed in RUN_PRIVILEGES."""
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
    """A worker's login may not change the schema or delete what must stay."""
    with psycopg.connect(database_url) as connection, pytest.raises(DENIED):
        connection.execute(statement.encode())


def test_a_reader_sees_no_word_that_people_wrote(database_url: str, pool: Pool) -> None:
    """A reader may read counts, states and times, but no column with people's text, and may not write."""
    SessionStore(pool).get_or_create_session("C1", "1.1", "U1")
    reader = as_member(database_url, READ)
    with new_pool(reader) as reading:
        assert OverviewStore(reading).counts().sessions["collecting"] == 1
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


def test_a_reader_finds_no_word_anywhere(postgres: PostgresForTests, database_url: str, pool: Pool) -> None:
    """A reader finds no text of people in any readable relation, view or catalogue."""
    write_everywhere(pool, WORD)
    with psycopg.connect(as_owner(database_url), autocommit=True) as connection:
        connection.execute("ANALYZE")
    seen: dict[str, str] = {}
    with psycopg.connect(database_url) as busy, psycopg.connect(as_member(database_url, READ)) as reader:
        busy.execute(f"SELECT '{WORD}'".encode())
        reader.autocommit = True
        for relation, columns in reader.execute(RELATIONS).fetchall():
            try:
                asked = f"SELECT {columns} FROM {relation}".encode()  # noqa: S608 - names of the server's
                seen[relation] = str(reader.execute(asked).fetchall())
            except (DENIED, psycopg.errors.ObjectNotInPrerequisiteState):
                # A view for superusers only, or of a feature that is switched off.
                continue
    assert {"syncs", "sync_actions", "pg_stat_activity", "pg_stats"} <= set(seen)
    assert [relation for relation, text in seen.items() if WORD in text] == []
    assert WORD in str(ask(as_owner(database_url), "SELECT array_agg(draft::text) FROM syncs"))


def write_everywhere(pool: Pool, word: str) -> None:
    """Write the word into every place where people's text is stored."""
    store, by = SessionStore(pool), decisions.signature(word, word, "cli", "10.0.0.1")
    for number in range(3):
        thread = ("C1", f"1700000000.00000{number}")
        session = store.get_or_create_session(*thread, "U1")
        store.request_sync(*thread, Draft(summary=word, description=word, labels=(word,)), thread[1])
        with pool.connection() as connection:
            connection.execute(
                "UPDATE syncs SET state = 'failed', reason = 'draft', detail = %s WHERE session_id = %s",
                [word, session.id],
            )
        decisions.retry(pool, session, by)
        linked, _ = decisions.link(pool, session, f"PROJ-{number + 1}", by)
        decisions.unlink(pool, linked, by)
        letter = DeadLetterStore(pool).bury(
            Letter(
                task_id=f"{word}{number}",
                task_name=word,
                queue=word,
                error=ValueError(word),
                attempts=1,
                arguments=f'{{"x": "{word}"}}',
            )
        )
        decisions.discard(pool, letter, by)
        DeadLetterStore(pool).open_suspect(f"{word}{number}", word, "process")
    store.merge_channel_context("C1", {"x": word}, uuid4())
    ForgetStore(pool).begin("user", None, actor=word, reason=word, acted_by=by.acted_by)
    ConsoleSessionStore(pool).begin(b"1" * 32, ConsoleSession(word, word))


def test_a_new_column_with_text_is_hidden_until_it_is_known(database_url: str) -> None:
    """A new column with text is hidden from readers after a migration, and a new number is not."""
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
    """A migration gives every table to the owner's group, restores our rights, and revokes foreign ones."""
    administrator = postgres.for_administrator(empty_database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        create_roles(connection)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        migrate(connection)
        connection.execute("GRANT DELETE ON syncs TO threadsync_run")
        connection.execute("GRANT SELECT (draft) ON syncs TO threadsync_read")
        connection.execute("REVOKE ALL ON thread_sessions FROM threadsync_run")
        for function, role in NOT_GIVEN:
            connection.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {role}".encode())
        migrate(connection)
    owners = "SELECT array_agg(DISTINCT tableowner)::text[] FROM pg_tables WHERE schemaname = 'public'"
    assert ask(administrator, owners) == ["threadsync_migrate"]
    assert ask(administrator, "SELECT has_table_privilege('threadsync_run', 'syncs', 'DELETE')") is False
    assert (
        ask(administrator, "SELECT has_table_privilege('threadsync_run', 'thread_sessions', 'INSERT')")
        is True
    )
    assert ask(administrator, "SELECT has_any_column_privilege('threadsync_read', 'syncs', 'SELECT')") is True
    assert (
        ask(administrator, "SELECT has_column_privilege('threadsync_read', 'syncs', 'draft', 'SELECT')")
        is False
    )
    for function, role in NOT_GIVEN:
        assert ask(administrator, "SELECT has_function_privilege(%s, %s, 'EXECUTE')", role, function) is False


def test_an_installation_of_before_gets_the_new_roles(
    postgres: PostgresForTests, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`threadsync roles` and `migrate` upgrade an older installation: its decisions stay, new rights hold."""
    administrator = postgres.for_administrator(empty_database_url)
    old = migrations()[:9]
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(
            "GRANT USAGE, CREATE ON SCHEMA public TO threadsync_migrate; "
            "GRANT USAGE ON SCHEMA public TO threadsync_run, threadsync_read"
        )
    with monkeypatch.context() as patched, psycopg.connect(empty_database_url, autocommit=True) as connection:
        patched.setattr("worker.db.migrate.migrations", lambda: old)
        patched.setattr("worker.db.migrate.grant", lambda connection: None)
        migrate(connection)
        connection.execute("GRANT SELECT (id, actor) ON sync_actions TO threadsync_read")
        connection.execute(DECIDED_BEFORE)
    with psycopg.connect(administrator, autocommit=True) as connection:
        create_roles(connection)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        migrate(connection)
    with new_pool(as_member(empty_database_url, CONSOLE), max_size=1, kind=ConsolePool) as console:
        session = SessionStore(console).get_session_by_thread("C1", "1.1")
        assert session is not None
        decisions.retry(console, session, decisions.signature("Ann", "mended", "console"))
        found = OverviewStore(console).decisions(10)
    assert [(one.action, one.by, one.via, one.login) for one in found] == [
        ("retry", "Ann (console)", "console", "threadsync_console_login"),
        ("discard", "Bob", None, None),
        ("give_up", "Bob", None, None),
    ]
    reader = as_member(empty_database_url, READ)
    assert ask(reader, "SELECT count(id) FROM sync_actions") == 2
    with psycopg.connect(reader) as connection, pytest.raises(DENIED):
        connection.execute("SELECT actor FROM sync_actions")


def test_none_may_put_functions_beside_ours(postgres: PostgresForTests, empty_database_url: str) -> None:
    """Creating the roles takes away PUBLIC's right to create functions beside ours."""
    administrator = postgres.for_administrator(empty_database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        create_roles(connection)
    for group in (RUN, CONSOLE, READ):
        with psycopg.connect(as_member(empty_database_url, group)) as connection, pytest.raises(DENIED):
            connection.execute("CREATE FUNCTION jsonb_build_object(text, name) RETURNS int RETURN 1")


def test_roles_may_be_created_again(postgres: PostgresForTests, database_url: str) -> None:
    """The output of ``threadsync roles`` may be run twice."""
    sql = output(run_in({"PATH": os.environ["PATH"]}, "roles"))
    with psycopg.connect(postgres.for_administrator(database_url), autocommit=True) as connection:
        for _ in range(2):
            connection.execute(sql.encode())


def test_without_the_roles_a_migration_is_as_before(postgres: PostgresForTests, tmp_path: object) -> None:
    """A migration without our roles leaves the tables with the login that migrates."""
    with postgres.database(template="template1") as url:
        administrator = postgres.for_administrator(url)
        with psycopg.connect(administrator, autocommit=True) as connection:
            # The roles exist in the cluster, but have no rights in this schema.
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            migrate(connection)
        assert (
            ask(administrator, "SELECT tableowner::text FROM pg_tables WHERE tablename = 'syncs'")
            == "threadsync"
        )

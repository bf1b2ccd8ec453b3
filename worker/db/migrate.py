"""Apply numbered ``.sql`` files in order, once each, in one process at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from psycopg import Connection, errors
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from threadsync.errors import DatabaseFault, SchemaMismatch
from worker.db.connection import ANSWER_MARGIN_SECONDS, answering_within
from worker.db.roles import become_migrate, grant

_ADVISORY_LOCK: Final = 0x7468_7264_7379_6E63  # "thrdsync"
_STATEMENT_SECONDS: Final = 300
_MIN_SERVER: Final = 180_000  # uuidv7(), RETURNING old/new
_CREATE_REGISTER: Final = """
CREATE TABLE IF NOT EXISTS threadsync_schema (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_NOTE_IN_REGISTER: Final = "INSERT INTO threadsync_schema (version, name) VALUES (%s, %s)"
NEW_DATABASE: Final = "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8', and name it in DATABASE_URL"
_FILE_NAME: Final = re.compile(r"^(\d{4})_\w+\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of ``migrations/``."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Return the migrations shipped with this code, oldest first."""
    found = []
    for file in resources.files("worker.db").joinpath("migrations").iterdir():
        if match := _FILE_NAME.match(file.name):
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def schema_version(connection: Connection[Any]) -> int:
    """Return the version of the database's schema; 0 before the first migration."""
    cursor = connection.cursor(row_factory=tuple_row)  # whatever the caller's rows look like
    [(known,)] = cursor.execute("SELECT to_regclass('threadsync_schema') IS NOT NULL").fetchall()
    if not known:
        return 0
    [(version,)] = cursor.execute("SELECT coalesce(max(version), 0) FROM threadsync_schema").fetchall()
    return int(version)


def migrate(connection: Connection[Any]) -> int:
    """Apply missing migrations and return the version reached. Safe to repeat, and to run in parallel.

    A migration either happens whole or not at all. It gives up after 10 s behind another lock, so that
    it never holds up the workers that queue behind it.

    Raises ``SchemaMismatch``: the database is newer than this code, is not in UTF-8, or the server is older
    than 18. Raises ``DatabaseFault`` if the login may not make tables.
    """
    _check_server(connection)
    try:
        with answering_within(connection, _STATEMENT_SECONDS + ANSWER_MARGIN_SECONDS):
            return _migrate(connection)
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as exc:
        user = connection.info.user
        raise DatabaseFault(
            f"{user} may not make tables in its first schema ({exc.diag.message_primary}); "
            f"GRANT CREATE, USAGE ON SCHEMA … TO {user}, or log in as the tables' owner"
        ) from exc


def encoding_fault(encoding: str | None) -> str | None:
    """Return why a database's encoding will not do; None if it will, or a proxy does not tell it."""
    if encoding in {"UTF8", None}:
        return None
    return (
        f"the database is encoded in {encoding}, which does not hold what people write; threadsync needs UTF8"
    )


def _check_server(connection: Connection[Any]) -> None:
    server = connection.info.server_version
    if server < _MIN_SERVER:
        raise SchemaMismatch(f"threadsync needs Postgres 18 or newer; this server is {server // 10_000}")
    if fault := encoding_fault(connection.info.parameter_status("server_encoding")):
        raise SchemaMismatch(f"{fault}: {NEW_DATABASE}")


def _migrate(connection: Connection[Any]) -> int:
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")
        connection.execute(SQL("SET LOCAL statement_timeout = {}").format(_STATEMENT_SECONDS * 1000))
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
        become_migrate(connection)
        version = _apply(connection, migrations())
        # Each time: roles may have been created since.
        grant(connection)
        return version


def _apply(connection: Connection[Any], known: list[Migration]) -> int:
    at, newest = schema_version(connection), known[-1].version
    if at > newest:
        raise SchemaMismatch(
            f"the database's schema is at version {at}, this code knows {newest}: it was migrated by a newer "
            "threadsync. Install that one, or restore the database."
        )
    if at == 0:
        connection.execute(_CREATE_REGISTER)
    for migration in known:
        if migration.version > at:
            connection.execute(SQL(migration.sql), prepare=False)
            connection.execute(_NOTE_IN_REGISTER, [migration.version, migration.name])
    return newest

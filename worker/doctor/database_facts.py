"""Read from Postgres the facts that the doctor judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import Connection

from worker.db.connection import START_UP_SETTINGS
from worker.db.console_login.functions import STATEMENTS
from worker.db.migrate import schema_version
from worker.db.roles import CONSOLE_PRIVILEGES, RUN_PRIVILEGES
from worker.doctor.roles import Role

_PRIVILEGES: Final = """
SELECT name, privilege FROM unnest(%s::text[], %s::text[]) AS needed (name, privilege)
WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
"""
_FUNCTIONS: Final = """
SELECT name FROM unnest(%s::text[]) AS needed (name)
WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name AND has_function_privilege(oid, 'EXECUTE'))
"""
_CONSOLES: Final = [f"threadsync_console_{name}" for name in STATEMENTS]
# Rights of workers alone.
_MAY_CHANGE: Final = """
SELECT coalesce(bool_or(has_table_privilege(oid, 'UPDATE')), false)
FROM pg_class WHERE oid IN (to_regclass('syncs'), to_regclass('thread_sessions'), to_regclass('sync_actions'))
"""
_ELSEWHERE: Final = """
SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'threadsync_schema' AND NOT has_schema_privilege(n.oid, 'USAGE')
"""
_ROLE: Final = """
SELECT current_user, rolsuper,
       coalesce(pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass('syncs')), 'USAGE'), false)
FROM pg_roles WHERE rolname = current_user
"""
_STATE: Final = """
SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on',
       current_setting('fsync'), current_setting('synchronous_commit')
"""

_SETTINGS: Final = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS wanted (name)"
# In front of ours, in the search_path, there may be tables of the same names.
_IN_FRONT: Final = """
SELECT t.relnamespace::regnamespace::text FROM pg_class t, pg_class r
WHERE t.oid = to_regclass('thread_sessions') AND r.oid = to_regclass('threadsync_schema')
  AND t.relnamespace <> r.relnamespace
"""
# An error logs the refused row, 64 characters of each value; a statement logs its parameters.
_LOG: Final = """
SELECT current_setting('log_error_verbosity') <> 'terse',
       (current_setting('log_statement') <> 'none' OR current_setting('log_min_duration_statement') <> '-1'
        OR current_setting('log_min_duration_sample') <> '-1')
       AND current_setting('log_parameter_max_length') <> '0'
"""


@dataclass(frozen=True)
class DatabaseFacts:
    """Facts read from the server. ``version`` is the schema's, ``hidden_in`` a schema that we may not use.

    ``settings`` are those of our connections; ``in_front`` is a schema whose tables hide ours.
    """

    server: int
    encoding: str
    settings: Mapping[str, str]
    in_front: str | None
    read_only: bool
    fsync: str
    synchronous_commit: str
    version: int
    hidden_in: str | None
    missing: Mapping[str, tuple[str, ...]]
    user: str
    superuser: bool
    owner: bool
    time: datetime
    asked: datetime
    answered: datetime
    logs_rows: bool = False
    logs_parameters: bool = False
    unreadable: str | None = field(default=None)
    is_console: bool = False
    may_change: bool = False


def facts_of(connection: Connection[Any], role: Role | None) -> DatabaseFacts:
    """Ask for all facts, over one connection. ``role``: whose rights are looked for; else a worker's."""
    asked = datetime.now(UTC)
    [(time,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    answered = datetime.now(UTC)
    [(read_only, fsync, synchronous_commit)] = connection.execute(_STATE).fetchall()
    [(user, superuser, owner)] = connection.execute(_ROLE).fetchall()
    hidden = connection.execute(_ELSEWHERE).fetchone()
    [(logs_rows, logs_parameters)] = connection.execute(_LOG).fetchall()
    known = dict(connection.execute(_SETTINGS, [list(START_UP_SETTINGS)]).fetchall())
    in_front = connection.execute(_IN_FRONT).fetchone()
    unreadable = None
    try:
        version = schema_version(connection)
    except psycopg.errors.InsufficientPrivilege as exc:
        version, unreadable = 0, str(exc).strip()
    rights = CONSOLE_PRIVILEGES if role == "web" else RUN_PRIVILEGES
    needed = [(table, privilege) for table, privileges in rights.items() for privilege in privileges]
    missing: dict[str, tuple[str, ...]] = {}
    rows = connection.execute(_PRIVILEGES, [[table for table, _ in needed], [what for _, what in needed]])
    for table, privilege in rows.fetchall():
        missing[table] = (*missing.get(table, ()), privilege)
    excess = None
    if role == "web":
        missing |= {name: ("EXECUTE",) for (name,) in connection.execute(_FUNCTIONS, [_CONSOLES]).fetchall()}
        [(excess,)] = connection.execute(_MAY_CHANGE).fetchall()
    return DatabaseFacts(
        server=connection.info.server_version // 10_000,
        encoding=connection.info.parameter_status("server_encoding") or "UTF8",
        settings=known,
        in_front=in_front[0] if in_front else None,
        read_only=read_only,
        fsync=fsync,
        synchronous_commit=synchronous_commit,
        version=version,
        hidden_in=hidden[0] if hidden else None,
        missing=missing,
        user=user,
        superuser=superuser,
        is_console=role == "web",
        may_change=bool(excess),
        owner=owner,
        time=time,
        asked=asked,
        answered=answered,
        logs_rows=logs_rows,
        logs_parameters=logs_parameters,
        unreadable=unreadable,
    )

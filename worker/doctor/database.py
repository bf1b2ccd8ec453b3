"""Postgres: whether it answers, has our tables, and gives our role what it needs and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row

from threadsync.config import Settings
from threadsync.errors import InvalidSettings
from worker.db import pgbouncer
from worker.db.connection import START_UP_SETTINGS, GuardedConnection
from worker.db.conninfo import parse_dsn
from worker.db.console_login.functions import STATEMENTS
from worker.db.migrate import NEW_DATABASE, encoding_fault, migrations, schema_version
from worker.db.pool import connect_arguments
from worker.db.roles import CONSOLE_PRIVILEGES, RUN_PRIVILEGES
from worker.doctor.clocks import judge_clock
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.doctor.roles import Role
from worker.local.readiness import postgres_accepts

CHECKS: Final = (
    "database: reachable",
    "database: version",
    "database: encoding",
    "database: settings",
    "database: writable",
    "database: durable",
    "database: schema",
    "database: privileges",
    "database: role",
    "database: log",
    "database: clock",
)
_LEAST: Final = 18

_PRIVILEGES: Final = """
SELECT name, privilege FROM unnest(%s::text[], %s::text[]) AS needed (name, privilege)
WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
"""
_FUNCTIONS: Final = """
SELECT name FROM unnest(%s::text[]) AS needed (name)
WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name AND has_function_privilege(oid, 'EXECUTE'))
"""
_CONSOLES: Final = [f"threadsync_console_{name}" for name in STATEMENTS]
# What only workers may.
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
# With an error it logs the row that it refused, 64 letters of each value; with a statement its parameters.
_LOG: Final = """
SELECT current_setting('log_error_verbosity') <> 'terse',
       (current_setting('log_statement') <> 'none' OR current_setting('log_min_duration_statement') <> '-1'
        OR current_setting('log_min_duration_sample') <> '-1')
       AND current_setting('log_parameter_max_length') <> '0'
"""
_LIMITS: Final = ("statement_timeout", "lock_timeout")
_AS_ANYONE_LIKES: Final = ("idle_session_timeout", "idle_in_transaction_session_timeout")


@dataclass(frozen=True)
class DatabaseFacts:
    """What the server says. ``version`` is the schema's, ``hidden_in`` a schema that we may not look into.

    ``settings`` are those that hold on our connections; ``in_front`` is a schema whose tables hide ours.
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


def examine_database(settings: Settings, role: Role | None = None) -> Iterator[Finding]:
    """All of it, over one connection. ``role``: whose rights the login is to have; else a worker's."""
    if not settings.database_url:
        yield from (skipped(check, "DATABASE_URL is not set") for check in CHECKS)
        return
    if role == "web" and not settings.threadsync_console_password:
        yield from _without_console(settings.database_url.get_secret_value())
        return
    try:
        arguments = connect_arguments(settings.database_url.get_secret_value())
        with GuardedConnection.connect(**{**arguments, "row_factory": tuple_row}) as connection:
            # PgBouncer in statement mode allows none.
            with connection.transaction():
                connection.execute("SELECT 1")
            facts = _facts(connection, role)
    except (psycopg.Error, InvalidSettings) as exc:
        is_there = asyncio.run(postgres_accepts(settings.database_url.get_secret_value()))
        yield judge_refusal(exc, is_there=is_there)
        yield from (skipped(check, "Postgres does not answer") for check in CHECKS[1:])
        return
    yield ok("database: reachable", "it answers")
    yield from judge(facts, newest=migrations()[-1].version)


def _without_console(url: str) -> Iterator[Finding]:
    """Of a web process that only asks whether a server is there, for `/readyz`."""
    if asyncio.run(postgres_accepts(url)):
        yield ok("database: reachable", "it answers")
    else:
        yield error("database: reachable", "it does not answer", "start it, or name the right one")
    check, others = "database: role", set(CHECKS) - {"database: reachable", "database: role"}
    yield from (skipped(other, "there is no console here") for other in CHECKS if other in others)
    try:
        has_login = bool(parse_dsn(url).get("password"))
    except InvalidSettings:
        has_login = False
    if has_login:
        fix = "take user and password out of DATABASE_URL: /readyz needs none"
        yield warning(check, "there is no console here, and nothing else in this process logs in", fix)
    else:
        yield ok(check, "no login, and none is needed without the console")


def _facts(connection: Connection[Any], role: Role | None) -> DatabaseFacts:
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


def judge_refusal(exc: Exception, *, is_there: bool = False) -> Finding:
    """Why it could not be spoken with; the driver's words may name hosts, not passwords.

    Args:
        is_there: a server took a connection, so that it is it that refuses, perhaps in a language of its own.
    """
    check, words = "database: reachable", str(exc).strip().splitlines()[0] if str(exc).strip() else ""
    if isinstance(exc, InvalidSettings):
        return error(
            check,
            f"DATABASE_URL cannot be used ({words.removeprefix('DATABASE_URL: ')})",
            "write it as postgresql://user:password@host:5432/name",
        )
    if isinstance(exc, psycopg.errors.DuplicatePreparedStatement | psycopg.errors.InvalidSqlStatementName):
        return error(check, f"a proxy mixes connections up ({words})", pgbouncer.WITHOUT_PREPARES)
    if pgbouncers := pgbouncer.advice(words):
        return error(check, f"PgBouncer refuses us ({words})", pgbouncers)
    if "authentication failed" in words or "no password supplied" in words:
        return error(check, "it refuses our login", "set user and password in DATABASE_URL right")
    if "does not exist" in words:
        missing = "the role" if 'role "' in words else "the database"
        return error(check, f"{missing} of DATABASE_URL does not exist", "create it, or name the right one")
    if "too many" in words or "remaining connection slots" in words:
        return error(check, "it has no connection left", "raise max_connections, or put PgBouncer before it")
    if "pg_hba.conf" in words:
        return error(check, "pg_hba.conf does not let us in", "add a line for our host, database and user")
    if "read-only" in words:
        fix = "wait for the failover to end, or name the primary in DATABASE_URL"
        return error(check, f"no server takes writes ({words})", fix)
    if is_there:
        return error(check, f"it refuses us ({words})", "do what its words say; its log has more")
    fix = "start it, and see that host and port in DATABASE_URL are right and that no firewall is between"
    return error(check, f"it does not answer ({words})", fix)


def judge(facts: DatabaseFacts, newest: int) -> Iterator[Finding]:
    """``newest`` is the version of the schema that this code knows."""
    if facts.server < _LEAST:
        fix = f"upgrade to {_LEAST}: our statements use RETURNING old and uuidv7()"
        yield error("database: version", f"Postgres {facts.server} is too old", fix)
    else:
        yield ok("database: version", f"Postgres {facts.server}")
    yield _judge_encoding(facts)
    yield _judge_settings(facts)
    if facts.read_only:
        fix = "name the primary in DATABASE_URL (target_session_attrs=read-write finds it)"
        yield error("database: writable", "it is a standby, or read-only", fix)
    else:
        yield ok("database: writable", "a primary")
    yield _judge_durability(facts)
    yield _judge_schema(facts, newest)
    yield _judge_privileges(facts)
    yield _judge_role(facts)
    yield _judge_log(facts)
    yield judge_clock("database: clock", "Postgres", facts.time, facts.asked, facts.answered)


def _judge_encoding(facts: DatabaseFacts) -> Finding:
    check = "database: encoding"
    fault = encoding_fault(facts.encoding)
    return error(check, fault, NEW_DATABASE) if fault else ok(check, "UTF8")


def _judge_settings(facts: DatabaseFacts) -> Finding:
    """What a connection could not set itself, because PgBouncer takes no start-up options."""
    check = "database: settings"
    if facts.in_front:
        what = f"tables of the same names in the schema {facts.in_front} are in front of ours"
        return error(
            check, what, f"ALTER ROLE {facts.user} SET search_path = the schema of threadsync_schema"
        )
    wrong = {name: START_UP_SETTINGS[name] for name, value in facts.settings.items() if _differs(name, value)}
    if wrong:
        found = ", ".join(f"{name} is {facts.settings[name]}" for name in wrong)
        alter = "; ".join(f"ALTER ROLE {facts.user} SET {name} = '{value}'" for name, value in wrong.items())
        return warning(check, f"{found}; a connection cannot set that here", alter)
    return ok(check, "as our statements need them")


def _differs(name: str, value: str) -> bool:
    if name in _AS_ANYONE_LIKES:
        return False
    if name in _LIMITS:
        return value == "0"
    return not value.startswith(START_UP_SETTINGS[name])


def _judge_durability(facts: DatabaseFacts) -> Finding:
    check = "database: durable"
    if facts.fsync != "on":
        return error(
            check, "fsync is off: a power cut may destroy the database", "set fsync = on, and restart it"
        )
    if facts.synchronous_commit == "off":
        fix = "set synchronous_commit = on, at least for our role (ALTER ROLE … SET)"
        return error(check, "synchronous_commit is off: a crash loses what was said to be done", fix)
    return ok(check, "what is committed stays")


def _judge_schema(facts: DatabaseFacts, newest: int) -> Finding:
    check = "database: schema"
    if facts.hidden_in:
        fix = f"GRANT USAGE ON SCHEMA {facts.hidden_in} TO {facts.user}; or: threadsync roles"
        return error(
            check, f"our tables are in the schema {facts.hidden_in}, which {facts.user} may not use", fix
        )
    if facts.unreadable:
        fix = f"GRANT SELECT ON threadsync_schema TO {facts.user}; or: threadsync roles, then migrate"
        return error(check, f"{facts.user} may not read its version", fix)
    if facts.version == 0:
        return error(check, "our tables are not there", "threadsync migrate")
    if facts.version < newest:
        what = f"at version {facts.version}, this code needs {newest}"
        return error(check, what, "threadsync migrate; old workers may run meanwhile")
    if facts.version > newest:
        what = f"at version {facts.version}, this code knows {newest}: a newer threadsync was here"
        return warning(check, what, "upgrade this machine's threadsync, too")
    return ok(check, f"version {facts.version}")


def _judge_privileges(facts: DatabaseFacts) -> Finding:
    check = "database: privileges"
    if facts.version == 0:
        return skipped(check, "there are no tables to look at")
    if facts.missing:
        what = "; ".join(f"{', '.join(names)} on {table}" for table, names in facts.missing.items())
        grants = "; ".join(
            f"GRANT {', '.join(names)} ON {table} TO {facts.user}" for table, names in facts.missing.items()
        )
        group = "threadsync_console" if facts.is_console else "threadsync_run"
        if facts.is_console:
            return error(
                check, f"{facts.user} lacks {what}", f"make it a member of {group} (threadsync roles)"
            )
        fix = f"make it a member of {group} (threadsync roles), or: {grants}"
        return error(check, f"{facts.user} lacks {what}", fix)
    return ok(check, f"{facts.user} may read and write what we do")


def _judge_role(facts: DatabaseFacts) -> Finding:
    check = "database: role"
    fix = "threadsync roles creates group roles; log workers in as a member of threadsync_run"
    if facts.superuser:
        return warning(check, f"{facts.user} is a superuser: whoever gets our password has everything", fix)
    if facts.owner:
        return warning(check, f"{facts.user} owns the tables: it could drop them", fix)
    if facts.is_console:
        if facts.may_change:
            fix = "threadsync roles; log the web process in as a member of threadsync_console alone"
            return warning(check, f"{facts.user} may do all that workers do, and the console needs less", fix)
        return ok(check, f"{facts.user} reads, and changes by functions that sign")
    return ok(check, f"{facts.user} may change rows, and no tables")


def _judge_log(facts: DatabaseFacts) -> Finding:
    """Judge whether its log keeps what people wrote: nothing is taken out of it again."""
    check = "database: log"
    ways = []
    if facts.logs_rows:
        ways.append("log_error_verbosity = terse")
    if facts.logs_parameters:
        ways.append("log_parameter_max_length = 0")
    if not ways:
        return ok(check, "no words of people get into it")
    what = "rows that it refuses" if facts.logs_rows else "parameters of statements"
    fix = f"a superuser's ALTER ROLE {facts.user} SET {', and SET '.join(ways)}; or in postgresql.conf"
    return warning(check, f"{what} get into its log, with what people wrote", fix)

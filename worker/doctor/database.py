"""Check that Postgres answers, has our tables, and gives our role only the rights it needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.rows import tuple_row

from threadsync.config import Settings
from threadsync.errors import InvalidSettings
from worker.db import pgbouncer
from worker.db.connection import START_UP_SETTINGS, GuardedConnection
from worker.db.migrate import NEW_DATABASE, encoding_fault, migrations
from worker.db.pool import connect_arguments
from worker.doctor.clocks import judge_clock
from worker.doctor.database_facts import DatabaseFacts, facts_of
from worker.doctor.finding import Finding, error, ok, skipped, warning
from worker.doctor.roles import Role

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

_LIMITS: Final = ("statement_timeout", "lock_timeout")
_FREE: Final = ("idle_session_timeout", "idle_in_transaction_session_timeout")


def examine_database(settings: Settings, role: Role | None = None) -> Iterator[Finding]:
    """Run all checks over one connection. ``role``: whose rights the login should have; else a worker's."""
    if not settings.database_url:
        yield from (skipped(check, "DATABASE_URL is not set") for check in CHECKS)
        return
    if role == "web" and not settings.threadsync_console_password:
        yield from _without_console()
        return
    try:
        arguments = connect_arguments(settings.database_url.get_secret_value())
        with GuardedConnection.connect(**{**arguments, "row_factory": tuple_row}) as connection:
            # PgBouncer in statement mode allows none.
            with connection.transaction():
                connection.execute("SELECT 1")
            facts = facts_of(connection, role)
    except (psycopg.Error, InvalidSettings) as exc:
        yield judge_refusal(exc, is_there=_is_there(settings.database_url.get_secret_value()))
        yield from (skipped(check, "Postgres does not answer") for check in CHECKS[1:])
        return
    yield ok("database: reachable", "it answers")
    yield from judge(facts, newest=migrations()[-1].version)


def _is_there(url: str) -> bool:
    """Ask as `pg_isready` does: a refusal in any language proves that a server is there."""
    with suppress(psycopg.Error):
        return pq.PGconn.ping(make_conninfo(url, connect_timeout=2).encode()) == pq.Ping.OK
    return False


def _without_console() -> Iterator[Finding]:
    """Judge the settings of a web process that does not use Postgres."""
    yield from (skipped(check, "there is no console here") for check in CHECKS if check != "database: role")
    what = "DATABASE_URL is set, and without the console this process does not use it"
    yield warning("database: role", what, "remove DATABASE_URL from this process")


def judge_refusal(exc: Exception, *, is_there: bool = False) -> Finding:
    """Judge why the connection failed; the driver's message may name hosts, not passwords.

    Args:
        is_there: a server accepts connections, so it refused, perhaps in another language.
    """
    check, words = "database: reachable", str(exc).strip().splitlines()[0] if str(exc).strip() else ""
    if isinstance(exc, InvalidSettings):
        return error(
            check,
            f"DATABASE_URL cannot be used ({words.removeprefix('DATABASE_URL: ')})",
            "write it as postgresql://user:password@host:5432/name",
        )
    if isinstance(exc, psycopg.errors.DuplicatePreparedStatement | psycopg.errors.InvalidSqlStatementName):
        return error(check, f"a proxy mixes up connections ({words})", pgbouncer.WITHOUT_PREPARES)
    if pgbouncers := pgbouncer.advice(words):
        return error(check, f"PgBouncer refuses us ({words})", pgbouncers)
    if "authentication failed" in words or "no password supplied" in words:
        return error(check, "it rejects our login", "correct user and password in DATABASE_URL")
    if "does not exist" in words:
        missing = "the role" if 'role "' in words else "the database"
        return error(check, f"{missing} of DATABASE_URL does not exist", "create it, or correct DATABASE_URL")
    if "too many" in words or "remaining connection slots" in words:
        return error(check, "it has no free connection", "raise max_connections, or use PgBouncer")
    if "pg_hba.conf" in words:
        return error(check, "pg_hba.conf rejects us", "add a line for our host, database and user")
    if "read-only" in words:
        fix = "wait for the failover to end, or name the primary in DATABASE_URL"
        return error(check, f"no server accepts writes ({words})", fix)
    if is_there:
        return error(check, f"it refuses us ({words})", "follow its message; its log has more")
    fix = "start it, and check host and port in DATABASE_URL, and firewalls"
    return error(check, f"it does not answer ({words})", fix)


def judge(facts: DatabaseFacts, newest: int) -> Iterator[Finding]:
    """Judge the facts. ``newest`` is the schema version that this code knows."""
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
    """Judge settings that a connection could not set, because PgBouncer takes no start-up options."""
    check = "database: settings"
    if facts.in_front:
        what = f"tables of the same names in the schema {facts.in_front} hide ours"
        return error(
            check, what, f"ALTER ROLE {facts.user} SET search_path = the schema of threadsync_schema"
        )
    wrong = {name: START_UP_SETTINGS[name] for name, value in facts.settings.items() if _differs(name, value)}
    if wrong:
        found = ", ".join(f"{name} is {facts.settings[name]}" for name in wrong)
        alter = "; ".join(f"ALTER ROLE {facts.user} SET {name} = '{value}'" for name, value in wrong.items())
        return warning(check, f"{found}; connections cannot set that here", alter)
    return ok(check, "as our statements need them")


def _differs(name: str, value: str) -> bool:
    if name in _FREE:
        return False
    if name in _LIMITS:
        return value == "0"
    return not value.startswith(START_UP_SETTINGS[name])


def _judge_durability(facts: DatabaseFacts) -> Finding:
    check = "database: durable"
    if facts.fsync != "on":
        return error(
            check, "fsync is off: a power failure may destroy the database", "set fsync = on, and restart it"
        )
    if facts.synchronous_commit == "off":
        fix = "set synchronous_commit = on, at least for our role (ALTER ROLE … SET)"
        return error(check, "synchronous_commit is off: a crash loses confirmed changes", fix)
    return ok(check, "commits are durable")


def _judge_schema(facts: DatabaseFacts, newest: int) -> Finding:
    check = "database: schema"
    if facts.hidden_in:
        fix = f"GRANT USAGE ON SCHEMA {facts.hidden_in} TO {facts.user}; or: threadsync roles"
        return error(
            check, f"our tables are in the schema {facts.hidden_in}, which {facts.user} may not use", fix
        )
    if facts.unreadable:
        fix = f"GRANT SELECT ON threadsync_schema TO {facts.user}; or: threadsync roles, then migrate"
        return error(check, f"{facts.user} may not read the schema's version", fix)
    if facts.version == 0:
        return error(check, "our tables are missing", "run threadsync migrate")
    if facts.version < newest:
        what = f"version {facts.version}; this code needs {newest}"
        return error(check, what, "run threadsync migrate; old workers may keep running")
    if facts.version > newest:
        what = f"version {facts.version}; this code knows {newest}: a newer threadsync migrated it"
        return warning(check, what, "upgrade threadsync on this machine")
    return ok(check, f"version {facts.version}")


def _judge_privileges(facts: DatabaseFacts) -> Finding:
    check = "database: privileges"
    if facts.version == 0:
        return skipped(check, "there are no tables to check")
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
    return ok(check, f"{facts.user} has all rights that we need")


def _judge_role(facts: DatabaseFacts) -> Finding:
    check = "database: role"
    fix = "threadsync roles creates group roles; log workers in as a member of threadsync_run"
    if facts.superuser:
        return warning(check, f"{facts.user} is a superuser: our password would open everything", fix)
    if facts.owner:
        return warning(check, f"{facts.user} owns the tables: it could drop them", fix)
    if facts.is_console:
        if facts.may_change:
            fix = "threadsync roles; log the web process in as a member of threadsync_console alone"
            return warning(check, f"{facts.user} has the rights of workers, and the console needs fewer", fix)
        return ok(check, f"{facts.user} reads, and changes rows only by functions that record its name")
    return ok(check, f"{facts.user} may change rows, not tables")


def _judge_log(facts: DatabaseFacts) -> Finding:
    """Judge whether the server's log would keep what users wrote."""
    check = "database: log"
    ways = []
    if facts.logs_rows:
        ways.append("log_error_verbosity = terse")
    if facts.logs_parameters:
        ways.append("log_parameter_max_length = 0")
    if not ways:
        return ok(check, "no text written by users gets into it")
    what = "refused rows" if facts.logs_rows else "statement parameters"
    fix = f"a superuser's ALTER ROLE {facts.user} SET {', and SET '.join(ways)}; or in postgresql.conf"
    return warning(check, f"{what} get into its log, with text written by users", fix)

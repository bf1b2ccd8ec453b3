"""SQL functions by which the console's login changes rows; each runs our statement as the owner.

``threadsync_console`` may read what the console shows, and call these. A function is made of the statement
that a worker or the CLI runs, so the two cannot differ; its arguments are the statement's parameters in the
order of their names, without the time, which is the server's. Triggers of the migrations
(``threadsync_sign``) write the login and ``via`` into the row that records the act.

A release with another parameter makes another function beside the old one: web processes of both may run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, LiteralString

from psycopg import Connection, Cursor
from psycopg.pq import ExecStatus
from psycopg.rows import DictRow, tuple_row

from threadsync.errors import DatabaseFault
from worker.db.channels import sql as channel_queries
from worker.db.connection import GuardedConnection
from worker.db.dead_letters import sql as dead_letter_queries
from worker.db.definer import restrict, standing_of
from worker.db.forgetting import sql as forgetting
from worker.db.pool import Pool
from worker.db.session_parts import ACT
from worker.db.syncs import decision_sql

_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_NOT_ASKED: Final = frozenset({"now", "asked_at", "jira_id"})
"""Parameters that the console may not set: moments (the server's clock is used) and Jira's id of a ticket."""

_FUNCTION: Final = "threadsync_console_"

STATEMENTS: Final[Mapping[str, LiteralString]] = {
    "retry": decision_sql.RETRY,
    "retry_all_blocked": decision_sql.RETRY_ALL_BLOCKED,
    "give_up": decision_sql.GIVE_UP,
    "act": ACT,
    "settle": dead_letter_queries.SETTLE_DEAD_LETTER,
    "begin_forgetting": forgetting.BEGIN,
    # Our own member of a channel's context: other programs' are neither read nor written.
    "channel_settings": channel_queries.GET_SETTINGS,
    "configured_channels": channel_queries.LIST_CONFIGURED,
    "change_channel_settings": channel_queries.CHANGE_SETTINGS,
}
"""Statements by the name of the function that takes their place."""


def install(connection: Connection[Any], callers: Mapping[LiteralString, bool]) -> None:
    """Create or replace the functions. ``callers``: roles, and whether they may call them."""
    cursor = connection.cursor(row_factory=tuple_row)
    for name, statement in STATEMENTS.items():
        body = _numbered(statement)
        parameters, columns = _describe(connection, body)
        signature = f"{_FUNCTION}{name}({', '.join(parameters)})"
        if standing_of(cursor, signature) == (body, False):
            # Already right, and owned by another login.
            continue
        cursor.execute(_definition(signature, columns, body), prepare=False)
        restrict(cursor, signature, callers)


def _definition(signature: str, columns: str, body: str) -> bytes:
    drop = _DROP_OTHER.format(signature=_quoted(signature), columns=_quoted(columns))
    return (
        f"{drop}; CREATE OR REPLACE FUNCTION {signature} RETURNS TABLE ({columns}) "
        f"LANGUAGE sql SECURITY DEFINER AS $function${body}$function$"
    ).encode()


# A function with the same arguments and another result cannot be replaced.
_DROP_OTHER: Final = """
DO $$
BEGIN
    IF pg_get_function_result(to_regprocedure('{signature}')) <> 'TABLE({columns})' THEN
        DROP FUNCTION {signature};
    END IF;
END
$$"""


def _parameters(statement: str) -> list[str]:
    # Sorted: a statement that names them in another order still means the same function.
    return sorted(set(_PARAMETER.findall(statement)) - _NOT_ASKED)


def _numbered(statement: str) -> str:
    """Return the statement as a function's body: parameters by number, NULL for those in ``_NOT_ASKED``."""
    numbers = {name: f"${number}" for number, name in enumerate(_parameters(statement), start=1)}
    numbers |= dict.fromkeys(_NOT_ASKED, "NULL")
    return _PARAMETER.sub(lambda match: numbers[match[1]], statement).replace("%%", "%").strip()


def _describe(connection: Connection[Any], statement: str) -> tuple[list[str], str]:
    """Return the types of a statement's parameters, and its columns with theirs, as the server reads it."""
    # Prepared without a name, so that the next statement takes its place; nothing is run.
    connection.pgconn.prepare(b"", statement.encode())
    found = connection.pgconn.describe_prepared(b"")
    if found.status != ExecStatus.COMMAND_OK:
        raise DatabaseFault(f"a statement of the console cannot be made a function: {found.error_message!r}")
    kinds = [found.param_type(number) for number in range(found.nparams)]
    columns = [(found.fname(number) or b"", found.ftype(number)) for number in range(found.nfields)]
    typed = (f"{column.decode()} {_type(connection, kind)}" for column, kind in columns)
    return [_type(connection, kind) for kind in kinds], ", ".join(typed)


def _type(connection: Connection[Any], oid: int) -> str:
    cursor = connection.cursor(row_factory=tuple_row)
    [(name,)] = cursor.execute("SELECT format_type(%s, NULL)", [oid]).fetchall()
    return str(name)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def call_of(name: str) -> str:
    """Return the call of the function that replaces a statement."""
    arguments = ", ".join(f"%({parameter})s" for parameter in _parameters(STATEMENTS[name]))
    return f"SELECT * FROM {_FUNCTION}{name}({arguments})"  # noqa: S608 - of names that stand here


CALLS: Final[Mapping[str, str]] = {statement: call_of(name) for name, statement in STATEMENTS.items()}
"""Calls by the statement that the console's login may not run."""


class ConsoleConnection(GuardedConnection):
    """A connection that calls functions in place of statements, so that stores need not know its login."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Cursor[DictRow]:
        call = CALLS.get(query) if isinstance(query, str) else None
        return super().execute(call or query, params, **options)


class ConsolePool(Pool):
    connections = ConsoleConnection

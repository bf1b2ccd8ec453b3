"""Functions by which the console's login changes rows: each is a statement of ours, run as the owner.

``threadsync_console`` may read what the console shows and run these. A function is made of the very statement
that a worker's login or the CLI runs, so the two cannot differ; its arguments are the statement's parameters
by their names' order, but for what is not the console's to say, such as the time, which is the server's. The
row that records the act says the login and ``via``: triggers of the migrations see to that
(``threadsync_sign``).

Where the statement has another parameter in a later release the function is another one beside the old one:
web processes of both run while the one takes the other's place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import Connection
from psycopg.pq import ExecStatus
from psycopg.rows import tuple_row

from threadsync.errors import DatabaseFault
from worker.db.dead_letters import sql as dead_letter_queries
from worker.db.definer import restrict, standing_of
from worker.db.forgetting import sql as forgetting
from worker.db.sessions import sql as queries
from worker.db.syncs import sql as sync_queries

_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_NOT_ASKED: Final = frozenset({"now", "asked_at", "jira_id"})
"""Parameters that say when, which is now by the server's clock; and Jira's id of a ticket, Jira's to say."""

_FUNCTION: Final = "threadsync_console_"

STATEMENTS: Final[Mapping[str, LiteralString]] = {
    "retry": sync_queries.RETRY,
    "retry_all_blocked": sync_queries.RETRY_ALL_BLOCKED,
    "give_up": sync_queries.GIVE_UP,
    "act": queries.ACT,
    "settle": dead_letter_queries.SETTLE_DEAD_LETTER,
    "begin_forgetting": forgetting.BEGIN,
}
"""By the name of the function that takes the statement's place."""


@dataclass(frozen=True, slots=True)
class _Described:
    """The types of a statement's parameters, and its columns with theirs, as the server reads it."""

    parameters: Sequence[str]
    columns: Sequence[tuple[str, str]]


def install(connection: Connection[Any], callers: Mapping[LiteralString, bool]) -> None:
    """Make the functions as they are now. ``callers``: roles, and whether they may call them."""
    cursor = connection.cursor(row_factory=tuple_row)
    for name, statement in STATEMENTS.items():
        body = _numbered(statement)
        described = _describe(connection, body)
        signature = f"{_FUNCTION}{name}({', '.join(described.parameters)})"
        if standing_of(cursor, signature) == (body, False):
            # As it is to be, and not ours to change.
            continue
        cursor.execute(_definition(signature, described, body), prepare=False)
        restrict(cursor, signature, callers)


def _definition(signature: str, described: _Described, body: str) -> bytes:
    columns = ", ".join(f"{column} {kind}" for column, kind in described.columns)
    drop = _DROP_OTHER.format(signature=_quoted(signature), columns=_quoted(columns))
    return (
        f"{drop}; CREATE OR REPLACE FUNCTION {signature} RETURNS TABLE ({columns}) "
        f"LANGUAGE sql SECURITY DEFINER AS $function${body}$function$"
    ).encode()


# One of the same arguments that answers in another form cannot be replaced.
_DROP_OTHER: Final = """
DO $$
BEGIN
    IF pg_get_function_result(to_regprocedure('{signature}')) <> 'TABLE({columns})' THEN
        DROP FUNCTION {signature};
    END IF;
END
$$"""


def _parameters(statement: str) -> list[str]:
    """By name, so that a statement that names them in another order still means the same function."""
    return sorted(set(_PARAMETER.findall(statement)) - _NOT_ASKED)


def _numbered(statement: str) -> str:
    """The statement as a function's body: the parameters by their numbers; of those not asked for, none."""
    numbers = {name: f"${number}" for number, name in enumerate(_parameters(statement), start=1)}
    numbers |= dict.fromkeys(_NOT_ASKED, "NULL")
    return _PARAMETER.sub(lambda match: numbers[match[1]], statement).replace("%%", "%").strip()


def _describe(connection: Connection[Any], statement: str) -> _Described:
    """Let the server read the statement, which runs nothing."""
    # Without a name: the next one takes its place.
    connection.pgconn.prepare(b"", statement.encode())
    found = connection.pgconn.describe_prepared(b"")
    if found.status != ExecStatus.COMMAND_OK:
        raise DatabaseFault(f"a statement of the console cannot be made a function: {found.error_message!r}")
    kinds = [found.param_type(number) for number in range(found.nparams)]
    columns = [(found.fname(number) or b"", found.ftype(number)) for number in range(found.nfields)]
    return _Described(
        [_type(connection, kind) for kind in kinds],
        [(column.decode(), _type(connection, kind)) for column, kind in columns],
    )


def _type(connection: Connection[Any], oid: int) -> str:
    cursor = connection.cursor(row_factory=tuple_row)
    [(name,)] = cursor.execute("SELECT format_type(%s, NULL)", [oid]).fetchall()
    return str(name)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def call_of(name: str) -> str:
    """Return the call that takes the place of the statement, with its parameters but those not asked for."""
    arguments = ", ".join(f"%({parameter})s" for parameter in _parameters(STATEMENTS[name]))
    return f"SELECT * FROM {_FUNCTION}{name}({arguments})"  # noqa: S608 - of names that stand here


CALLS: Final[Mapping[str, str]] = {statement: call_of(name) for name, statement in STATEMENTS.items()}
"""By the statement that the console's login may not run: the call in its place."""

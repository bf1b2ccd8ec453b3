"""Grant the group roles of ``roles.sql`` the least that each needs, table by table."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, LiteralString

from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from worker.db.console_login import functions as console_functions
from worker.db.forgetting.columns import OF_NOBODY, OF_PEOPLE
from worker.db.forgetting.functions import FUNCTIONS
from worker.db.forgetting.install import install

MIGRATE: Final = "threadsync_migrate"
RUN: Final = "threadsync_run"
CONSOLE: Final = "threadsync_console"
READ: Final = "threadsync_read"
FORGET: Final = "threadsync_forget"

_ROWS: Final = ("SELECT", "INSERT", "UPDATE")

RUN_PRIVILEGES: Final[Mapping[LiteralString, tuple[LiteralString, ...]]] = {
    **dict.fromkeys(("thread_sessions", "channel_context", "channel_aliases", "left_tickets"), _ROWS),
    "ticket_steps": _ROWS,
    **dict.fromkeys(("syncs", "sync_attempts", "jira_sites", "jira_pauses", "dead_letters"), _ROWS),
    "jira_reporters": _ROWS,
    **dict.fromkeys(("status_messages", "slack_installation"), _ROWS),
    "redeliveries": (*_ROWS, "DELETE"),
    **dict.fromkeys(("console_sessions", "queue_samples"), ("SELECT", "INSERT", "DELETE")),
    **dict.fromkeys(("sync_actions", "session_actions", "session_acts", "forget_acts"), ("SELECT", "INSERT")),
    **dict.fromkeys(
        ("channel_context_commands", "channel_acts", "installation_actions"), ("SELECT", "INSERT")
    ),
    "installation": ("SELECT", "UPDATE"),
    **dict.fromkeys(("forgotten_channels", "forgotten_people", "threadsync_schema"), ("SELECT",)),
}

_CHANGED: Final = ("SELECT", "UPDATE")
FORGET_PRIVILEGES: Final[Mapping[LiteralString, tuple[LiteralString, ...]]] = {
    **{column.table: _CHANGED for column in OF_PEOPLE},
    "dead_letters": (*_CHANGED, "DELETE"),
    "redeliveries": ("SELECT", "DELETE"),
    "forgotten_channels": _ROWS,
    "forgotten_people": ("SELECT", "INSERT", "DELETE"),
}
"""Rights of the functions that forget: ``worker.db.forgetting``."""

_SHOWN: Final[tuple[LiteralString, ...]] = (
    *("thread_sessions", "channel_aliases", "syncs", "sync_attempts", "dead_letters", "status_messages"),
    *("jira_sites", "jira_pauses", "slack_installation", "queue_samples", "installation"),
    *("sync_actions", "session_actions", "session_acts", "installation_actions", "forget_acts"),
    *("channel_acts", "left_tickets", "ticket_steps", "jira_reporters", "redeliveries"),
    "threadsync_schema",
)
_LOOK: Final[tuple[LiteralString, ...]] = ("SELECT",)
CONSOLE_PRIVILEGES: Final[Mapping[LiteralString, tuple[LiteralString, ...]]] = {
    **dict.fromkeys(_SHOWN, _LOOK),
    "console_sessions": ("SELECT", "INSERT", "DELETE"),
}
"""Rights of the console: it reads these, and changes by ``worker.db.console_login.functions``."""

CONSOLE_FORGETS: Final = frozenset(
    f"threadsync_forget_{what}" for what in ("sessions", "channel", "person", "opened_by", "named", "letters")
)
"""Functions by which the console forgets, each for an act that is recorded: not what is merely too old."""

_NO_WORDS: Final = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "numeric", "real", "double precision", "interval"),
        *("date", "timestamp with time zone", "timestamp without time zone", "uuid"),
    }
)
"""Types that hold no text, as the server spells them."""

_IDS_OF_PEOPLE: Final[Mapping[str, frozenset[str]]] = {"thread_sessions": frozenset({"user_id"})}
"""Slack's, which no person wrote."""

_FOR_NO_READER: Final = frozenset({"forgotten_people", "console_sessions"})
"""Tables with hashes that could be compared with guesses."""

# Tables are to belong to the group, whichever login makes them; those of another owner stay so.
_MAY_BE_MIGRATE: Final = """
SELECT coalesce(
    pg_has_role(to_regrole(%(role)s), 'MEMBER')
    AND has_schema_privilege(to_regrole(%(role)s), current_schema(), 'CREATE')
    AND (
        to_regclass('threadsync_schema') IS NULL
        OR (SELECT relowner = to_regrole(%(role)s) FROM pg_class WHERE oid = to_regclass('threadsync_schema'))
    ),
    false
)
"""
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


def roles_sql() -> str:
    """Return ``roles.sql``, which creates the roles."""
    return resources.files("worker.db").joinpath("roles.sql").read_text(encoding="utf-8")


def create_roles(connection: Connection[Any]) -> None:
    """Run ``roles.sql``; may be repeated."""
    connection.execute(SQL(roles_sql()), prepare=False)


def create_login(connection: Connection[Any], name: str, password: str, group: str) -> None:
    """Create a role that logs in with ``password`` and belongs to ``group``, or give an existing one both."""
    known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).rowcount
    verb = SQL("ALTER" if known else "CREATE")
    login = SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, Identifier(name), Literal(password))
    connection.execute(login)
    connection.execute(SQL("GRANT {} TO {}").format(Identifier(group), Identifier(name)))


def become_migrate(connection: Connection[Any]) -> None:
    """Act as ``threadsync_migrate`` for the rest of the transaction, if that is possible and of use."""
    cursor = connection.cursor(row_factory=tuple_row)
    [(possible,)] = cursor.execute(_MAY_BE_MIGRATE, {"role": MIGRATE}).fetchall()
    if possible:
        cursor.execute(SQL("SET LOCAL ROLE {}").format(Identifier(MIGRATE)))


def grant(connection: Connection[Any]) -> None:
    """Give the roles that exist their rights on tables and functions, and take away all others."""
    cursor = connection.cursor(row_factory=tuple_row)
    known = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
    names = [name for (name,) in cursor.execute(known, [[RUN, CONSOLE, READ]]).fetchall()]
    may_call = {RUN: frozenset(function.name for function in FUNCTIONS), CONSOLE: CONSOLE_FORGETS}
    install(connection, owner=FORGET, callers={role: may_call.get(role, frozenset()) for role in names})
    if cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [FORGET]).rowcount:
        for table, privileges in FORGET_PRIVILEGES.items():
            given = SQL(", ").join(map(SQL, privileges))
            cursor.execute(SQL("GRANT {} ON {} TO {}").format(given, Identifier(table), Identifier(FORGET)))
    for table in RUN_PRIVILEGES:
        rights = {
            RUN: _whole(RUN_PRIVILEGES[table]),
            CONSOLE: _whole(CONSOLE_PRIVILEGES.get(table, ())),
            READ: _of_columns(readable_columns(connection, table)),
        }
        for role in names:
            revoke = SQL("REVOKE ALL ON {} FROM {}").format(Identifier(table), Identifier(role))
            cursor.execute(revoke)
            if what := rights[role]:
                cursor.execute(SQL("GRANT {} ON {} TO {}").format(what, Identifier(table), Identifier(role)))
    # A worker may do it anyway: a console that still has a worker's login goes on.
    console_functions.install(connection, callers={role: role != READ for role in names})


def readable_columns(connection: Connection[Any], table: LiteralString) -> list[str]:
    """Return the columns that ``threadsync_read`` sees: no text but what is declared a program's."""
    cursor = connection.cursor(row_factory=tuple_row)
    columns = cursor.execute(_COLUMNS, {"table": table}).fetchall()
    texts = set() if table in _FOR_NO_READER else {*OF_NOBODY.get(table, ()), *_IDS_OF_PEOPLE.get(table, ())}
    return [name for name, kind in columns if kind in _NO_WORDS or name in texts]


def _whole(privileges: tuple[LiteralString, ...]) -> Composed | None:
    return SQL(", ").join(map(SQL, privileges)) if privileges else None


def _of_columns(columns: list[str]) -> Composed:
    return SQL("SELECT ({})").format(SQL(", ").join(map(Identifier, columns)))

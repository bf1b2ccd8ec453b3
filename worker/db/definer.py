"""Set up functions that run with their owner's rights (SECURITY DEFINER)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL, Identifier

_STANDING: Final = """
SELECT prosrc, pg_has_role(proowner, 'USAGE') FROM pg_proc WHERE oid = to_regprocedure(%s)
"""


def standing_of(cursor: Cursor[Any], signature: str) -> tuple[str | None, bool]:
    """Return a function's body (None if there is none), and True if this login may change the function."""
    body, is_ours = cursor.execute(_STANDING, [signature]).fetchone() or (None, True)
    return body, is_ours


def restrict(cursor: Cursor[Any], signature: LiteralString, callers: Mapping[LiteralString, bool]) -> None:
    """Let only these roles call a function, and fix its search path, so that no caller can change it."""
    function = SQL(signature)
    [(schema,)] = cursor.execute("SELECT current_schema()").fetchall()
    # Temporary tables last.
    place = SQL("ALTER FUNCTION {} SET search_path = {}, pg_temp")
    cursor.execute(place.format(function, Identifier(schema)))
    cursor.execute(SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(function))
    for role, may in callers.items():
        right = SQL("GRANT EXECUTE ON FUNCTION {} TO {}" if may else "REVOKE ALL ON FUNCTION {} FROM {}")
        cursor.execute(right.format(function, Identifier(role)))

"""Install the functions that forget, and the triggers that call them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final, LiteralString

from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from worker.db.definer import restrict, standing_of
from worker.db.forgetting.functions import FUNCTIONS, Function

_TRIGGERS: Final[Mapping[LiteralString, LiteralString]] = {
    # When all of the move is done, which carries over drafts.
    "thread_sessions_forget_alias": """
CREATE CONSTRAINT TRIGGER thread_sessions_forget_alias AFTER UPDATE OF alias_of ON thread_sessions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.alias_of IS NOT NULL)
EXECUTE FUNCTION threadsync_forget_alias()
""",
    # When the ids are known to be one channel's.
    "channel_aliases_forget_moved": """
CREATE TRIGGER channel_aliases_forget_moved AFTER INSERT OR UPDATE OF home_id ON channel_aliases
FOR EACH ROW EXECUTE FUNCTION threadsync_forget_moved()
""",
}
_HAS_TRIGGER: Final = """
SELECT EXISTS (
    SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgname = %s AND c.relnamespace = current_schema()::regnamespace
)
"""
# The one that owns them needs the right to have functions in the schema, and we the right to give them to it.
_MAY_OWN: Final = """
SELECT coalesce(
    pg_has_role(to_regrole(%(role)s), 'SET')
    AND has_schema_privilege(to_regrole(%(role)s), current_schema(), 'CREATE'),
    false
)
"""


def install(
    connection: Connection[Any], owner: LiteralString, callers: Mapping[LiteralString, Container[str]]
) -> None:
    """Create or replace the functions.

    Args:
        owner: the role they belong to, where there is one.
        callers: by role the names of the functions that it may call.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    [(may_own,)] = cursor.execute(_MAY_OWN, {"role": owner}).fetchall()
    for function in FUNCTIONS:
        body, is_ours = standing_of(cursor, function.signature)
        if body != function.body:
            cursor.execute(SQL(_definition(function)), prepare=False)
        elif not is_ours:
            continue
        may_call = {role: function.name in names and not function.is_ours for role, names in callers.items()}
        restrict(cursor, function.signature, may_call)
        if may_own:
            belongs = SQL("ALTER FUNCTION {} OWNER TO {}")
            cursor.execute(belongs.format(SQL(function.signature), Identifier(owner)))
    for name, made in _TRIGGERS.items():
        [(is_there,)] = cursor.execute(_HAS_TRIGGER, [name]).fetchall()
        if not is_there:
            cursor.execute(made)


def _definition(function: Function) -> LiteralString:
    return (
        f"CREATE OR REPLACE FUNCTION {function.name}({function.takes}) RETURNS {function.returns} "
        f"LANGUAGE plpgsql SECURITY DEFINER AS $function${function.body}$function$"
    )

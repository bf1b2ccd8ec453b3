"""Parts of the functions that forget, made of the declared columns, so that none is left out."""
# ruff: noqa: S608 - made of names that stand in `columns.py`

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, LiteralString

from worker.db.forgetting.columns import CHANNEL_OF, OF_PEOPLE, SESSION_OF, Column, of_kinds, tables

# Two of one moment must not be alike: a draft of before would win over one without words.
LATER: Final = "drafted_at + 0.000000001"


def known_act(of_consoles: LiteralString = "true") -> LiteralString:
    """Return SQL that refuses an act of forgetting that is not recorded.

    The console's must be its own, of the last hour, and about what is forgotten now.
    """
    return f"""
    IF NOT EXISTS (
        SELECT FROM forget_acts f WHERE f.id = act AND (NOT threadsync_is_console() OR (
            f.login = session_user AND f.at > now() - interval '1 hour' AND {of_consoles}
        ))
    ) THEN
        RAISE 'there is no act of forgetting % for this', act USING ERRCODE = 'no_data_found';
    END IF;"""


def home(channel: LiteralString) -> LiteralString:
    return f"coalesce((SELECT home_id FROM channel_aliases WHERE channel_id = {channel}), {channel})"


OF_THEIR_SUBJECT: Final = f"""f.what IN ('thread', 'channel') AND NOT EXISTS (
                SELECT FROM thread_sessions t WHERE t.id = ANY (sessions) AND NOT (
                    {home("t.channel_id")} = {home("split_part(f.subject, ' / ', 1)")}
                    AND (f.what = 'channel' OR t.thread_ts = split_part(f.subject, ' / ', 2))
                )
            )"""
OF_THE_CHANNEL: Final = "f.what = 'channel' AND f.subject = channel"
OF_A_PERSON: Final = "f.what = 'user'"


def cleared(columns: Sequence[Column]) -> LiteralString:
    return ", ".join(f"{column.name} = {column.cleared}" for column in columns)


def clear_all_of(sessions: LiteralString) -> Iterator[LiteralString]:
    """Yield statements that erase personal data in rows of these sessions."""
    for table, key in SESSION_OF.items():
        columns = of_kinds(table, "person", "name", "actor", "words", "detail")
        if columns:
            yield f"UPDATE {table} SET {cleared(columns)}\n    WHERE {key} = ANY ({sessions});"


def clear_channels(ids: LiteralString) -> Iterator[LiteralString]:
    """Yield statements that erase personal data in rows of these channels."""
    for table, key in CHANNEL_OF.items():
        columns = of_kinds(table, "words", "name", "actor")
        filled = " OR ".join(f"{column.name} IS DISTINCT FROM {column.cleared}" for column in columns)
        yield f"UPDATE {table} SET {cleared(columns)}\n    WHERE {key} = ANY ({ids}) AND ({filled});"


def clear_details_of(sessions: LiteralString) -> Iterator[LiteralString]:
    for table in tables("detail"):
        columns = of_kinds(table, "detail")
        key = SESSION_OF[table]
        filled = " OR ".join(f"{column.name} IS NOT NULL" for column in columns)
        yield f"UPDATE {table} SET {cleared(columns)} WHERE {key} = ANY ({sessions}) AND ({filled});"


def lines(statements: Iterator[LiteralString]) -> LiteralString:
    return "\n    ".join(statements)


def author(row: LiteralString) -> tuple[LiteralString, LiteralString]:
    """Return conditions on a sync: the person drafted it; its author is not known."""
    columns = of_kinds("syncs", "actor")
    if not columns:
        return "false", "true"
    names = f"{row}.{columns[0].name}"
    return f"coalesce(upper({names} ->> 'user_id') = upper(person), false)", f"{names} IS NULL"


def _named(column: Column) -> LiteralString:
    """Return the column's value without the person that ``pattern`` finds."""
    name, text = column.name, f"{column.name}::text"
    is_json = column.kind == "draft" or column.cleared.endswith("::jsonb")
    replaced: LiteralString = f"regexp_replace({name}, pattern, 'forgotten', 'gi')"
    if is_json:
        replaced = f"threadsync_without_pattern({name}, pattern)"
    if column.kind in ("person", "name"):
        return f"CASE WHEN {name} ~* pattern THEN {column.cleared} ELSE {name} END"
    if column.kind == "actor":
        return f"CASE WHEN {text} ~* pattern THEN {column.cleared} ELSE {name} END"
    authors = of_kinds(column.table, "name", "actor")
    if column.kind == "words" and authors:
        by_person = " OR ".join(f"{author.name}::text ~* pattern" for author in authors)
        return f"CASE WHEN {by_person} THEN {column.cleared} ELSE {replaced} END"
    return replaced


def forget_in(table: LiteralString) -> LiteralString:
    columns = tuple(c for c in OF_PEOPLE if c.table == table and c.kind != "letter")
    changes = [f"{column.name} = {_named(column)}" for column in columns]
    if of_kinds(table, "draft"):
        changes += [f"drafted_at = CASE WHEN draft::text ~* pattern THEN {LATER} ELSE drafted_at END"]
    found = " OR ".join(f"{column.name}::text ~* pattern" for column in columns)
    return f"""
    WHEN '{table}' THEN
        UPDATE {table} SET {", ".join(changes)} WHERE {found};"""

"""SQL of many commands of one kind at once. Each statement gives the results of its twin in ``sql``.

Its parameters are arrays with a value for each command. The shape is the twin's, row by row:

    given      the input, numbered, in the order of its threads: rows are locked in this order; and whether
               the command is refused, as the channel's `who` does not let this person act
    seen       each thread's session as it is, read by its key; `is_settled` if the command changes nothing
    updated    the write, for those that are left, and what the row was at that moment
               the results, each with the number of its command; no row: there is no session

``OUTCOMES_OF_...`` are the same statements for an import, which looks at no session: they answer with the
outcome, and the key that a conflict is about.

Two ids of one channel are one thread. The second command for it has an empty outcome and is to be run later,
because a statement writes a row once. Rules are those of ``parts``, whose parameters become columns.
"""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.session_parts import HOME, IS_REFUSED, NO_SESSION, SESSION, SESSION_COLUMNS
from worker.db.sessions.parts import (
    ASKED,
    ASKED_FOR,
    CLOSED,
    HAS_KEY,
    HAS_MOVED_ON,
    IS_ANYBODYS,
    IS_LEFT,
    IS_THE_SAME,
    IS_TOO_OLD,
    MOVED_ON,
    NEW_SESSION,
    OPENED,
    OR_FOUND,
    OUTCOME_OF_DRAFT,
    OUTCOME_OF_FOUND,
    OUTCOME_OF_KEY,
    OUTCOME_OF_STATUS,
    READY,
    SYNCED,
    WAS_LEFT,
)

# Types of the fields. `unnest` must know them.
_TYPES: Final[dict[LiteralString, LiteralString]] = {
    "channel_id": "text",
    "thread_ts": "text",
    "user_id": "text",
    "status": "text",
    "jira_key": "text",
    "draft": "jsonb",
    "drafted_at": "numeric",
    "actor": "jsonb",
}
# Behind a subquery: Postgres would look up a column of it as often as it is used.
_ONCE: Final = "OFFSET 0"
_THREAD: Final = "channel_id = given_home AND thread_ts = given_thread_ts"


def _many(part: LiteralString) -> LiteralString:
    """Return the part with a column of the input in place of each parameter."""
    part = part.replace(HOME, "given_home")
    for name in _TYPES:
        part = part.replace(f"%({name})s", f"given_{name}")
    return part


def _given(*fields: LiteralString) -> LiteralString:
    """Return the input as a table, in the order in which a trip is sorted, which no other collation has."""
    names = ("channel_id", "thread_ts", *fields)
    # In binary: as text each quote in JSON would have to be escaped, which took a third of an import's time.
    arrays = ", ".join(f"%({name})b::{_TYPES[name]}[]" for name in names)
    columns = ", ".join(f"given_{name}" for name in names)
    home = HOME.replace("%(channel_id)s", "given_channel_id")
    return f"""given AS MATERIALIZED (
    SELECT *, row_number() OVER (
        PARTITION BY given_home COLLATE "C", given_thread_ts COLLATE "C" ORDER BY given_number
    ) AS given_turn, {_many(IS_REFUSED)} AS given_is_refused
    FROM (
        SELECT *, {home} AS given_home
        FROM unnest({arrays}) WITH ORDINALITY AS input ({columns}, given_number)
        {_ONCE}
    ) AS homes
)"""


def _seen(is_settled: LiteralString, *more: LiteralString) -> LiteralString:
    """Return the input's sessions. The limit keeps Postgres from reading the table for a join instead."""
    columns = ", ".join((SESSION, "forgotten_at", *more))
    return f"""seen AS MATERIALIZED (
    SELECT *
    FROM given LEFT JOIN LATERAL (
        SELECT {columns}, {_many(is_settled)} AS is_settled
        FROM thread_sessions WHERE {_THREAD} LIMIT 1
    ) AS session ON true
    WHERE given_turn = 1 AND NOT given_is_refused
)"""


def _unsettled(*fields: LiteralString) -> LiteralString:
    """Return the input whose sessions the command may change, without columns that rows have, too."""
    columns = ", ".join(f"given_{name}" for name in ("number", "home", "thread_ts", *fields))
    return f"(SELECT {columns} FROM seen WHERE NOT is_settled) AS unsettled"


_MISSING: Final = "(SELECT given_number, given_home, given_thread_ts FROM seen WHERE id IS NULL) AS missing"
# What an import reads of a session, beside the outcome.
_KEY: Final[tuple[LiteralString, ...]] = ("jira_key",)


def _rest(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the results of commands for threads without a session: a tombstone, if there is to be one."""
    return f"""UNION ALL
SELECT given_number, {", ".join(columns)}, 'stale'
FROM {_MISSING} CROSS JOIN LATERAL threadsync_tombstone(given_home, given_thread_ts) AS tombstone"""


def _later(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the results of commands that have to wait for another one."""
    return f"""UNION ALL
SELECT given_number, {", ".join(["NULL"] * (len(columns) + 1))} FROM given
WHERE given_turn > 1 AND NOT given_is_refused"""


def _refused(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the results of commands that were refused: each session as it is."""
    return f"""UNION ALL
SELECT given_number, {", ".join(columns)}, 'refused'
FROM given CROSS JOIN LATERAL (
    SELECT {SESSION}, 1 AS place FROM thread_sessions WHERE {_THREAD}
    UNION ALL
    SELECT {_many(NO_SESSION)}, 2
    ORDER BY place LIMIT 1
) AS session
WHERE given_is_refused"""


def _opening(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the statement that opens threads' sessions.

    The full joins here and below find nothing on one side only; Postgres cannot carry them out by comparing
    each row with each other, which it would otherwise do when it expects few.
    """
    answer = ", ".join(columns)
    return f"""
WITH {_given("user_id", "actor")}, {_seen("true")}, inserted AS (
    INSERT INTO thread_sessions (channel_id, thread_ts, user_id, opened_by, forgotten_at, drafts_since)
    SELECT {_many(OPENED)}
    FROM seen CROSS JOIN LATERAL (SELECT * FROM {_many(ASKED)} {_ONCE}) AS asked
    WHERE id IS NULL
    {OR_FOUND}
)
SELECT given_number, {answer}, {OUTCOME_OF_FOUND} AS outcome FROM seen WHERE id IS NOT NULL
UNION ALL
SELECT given_number, {answer}, outcome FROM {_MISSING} FULL JOIN inserted ON {_THREAD}
{_later(columns)}
{_refused(columns)}
"""


def _moving(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the statement that moves sessions forward."""
    return f"""
WITH {_given("status", "actor")}, {_seen(HAS_MOVED_ON)}, updated AS (
    UPDATE thread_sessions
    SET {_many(MOVED_ON)}
    FROM {_unsettled("status", "actor")}
    WHERE {_THREAD}
    RETURNING {NEW_SESSION}, old.status AS status_before, new.forgotten_at, given_number, given_status
), answer AS (
    SELECT {SESSION}, status AS status_before, forgotten_at, given_number, given_status
    FROM seen WHERE is_settled
    UNION ALL
    SELECT {SESSION}, status_before, forgotten_at, given_number, given_status FROM updated
)
SELECT given_number, {", ".join(columns)},
       {_many(OUTCOME_OF_STATUS)} AS outcome
FROM answer
{_rest(columns)}
{_later(columns)}
{_refused(columns)}
"""


def _closing(columns: tuple[LiteralString, ...]) -> LiteralString:
    """Return the statement that writes tickets' keys."""
    return f"""
WITH {_given("jira_key", "actor")}, {_seen(HAS_KEY, f"{_many(IS_LEFT)} AS is_left")}, updated AS (
    UPDATE thread_sessions
    SET {_many(SYNCED)}
    FROM {_unsettled("jira_key", "actor")}
    WHERE {_THREAD}
    RETURNING {NEW_SESSION}, old.jira_key AS key_before, {_many(WAS_LEFT)} AS is_left, new.forgotten_at,
              given_number, given_jira_key
), {CLOSED}, answer AS (
    SELECT {SESSION}, jira_key AS key_before, is_left, forgotten_at, given_number, given_jira_key
    FROM seen WHERE is_settled
    UNION ALL
    SELECT {SESSION}, key_before, is_left, forgotten_at, given_number, given_jira_key FROM updated
)
SELECT given_number, {", ".join(columns)},
       {_many(OUTCOME_OF_KEY)} AS outcome
FROM answer
{_rest(columns)}
{_later(columns)}
{_refused(columns)}
"""


GET_OR_CREATE_SESSIONS: Final[LiteralString] = _opening(SESSION_COLUMNS)
OUTCOMES_OF_OPENING: Final[LiteralString] = _opening(_KEY)
UPDATE_STATUSES: Final[LiteralString] = _moving(SESSION_COLUMNS)
OUTCOMES_OF_MOVING: Final[LiteralString] = _moving(_KEY)
MARK_ALL_SYNCED: Final[LiteralString] = _closing(SESSION_COLUMNS)
OUTCOMES_OF_CLOSING: Final[LiteralString] = _closing(_KEY)

# Asks for sessions' tickets.
REQUEST_SYNCS: Final[LiteralString] = f"""
WITH {_given("draft", "drafted_at", "actor")}, {_seen("forgotten_at IS NOT NULL")}, session AS (
    UPDATE thread_sessions
    SET {_many(READY)}
    FROM {_unsettled("draft", "drafted_at", "actor")}
    WHERE {_THREAD}
    RETURNING {NEW_SESSION}, new.forgotten_at,
              {_many(IS_TOO_OLD)},
              {_many(IS_ANYBODYS)} AS is_wordless,
              given_number, given_draft, given_drafted_at, given_actor
), {_many(ASKED_FOR)},
              old.drafted_at AS old_drafted_at, old.draft AS old_draft
), answer AS (
    SELECT *, {_many(IS_THE_SAME).replace("old.", "old_")} AS is_the_same
    FROM session FULL JOIN asked ON session_id = id
)
SELECT given_number, {SESSION},
       {OUTCOME_OF_DRAFT} AS outcome
FROM answer a
UNION ALL
SELECT given_number, {SESSION}, 'stale' FROM seen WHERE is_settled
{_rest(SESSION_COLUMNS)}
{_later(SESSION_COLUMNS)}
{_refused(SESSION_COLUMNS)}
"""

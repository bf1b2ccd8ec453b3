"""Parts of SQL statements about one session: columns, its channel, who may act, tombstone, acts."""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from typing import Final, LiteralString

SESSION_COLUMNS: Final[tuple[LiteralString, ...]] = (
    *("id", "channel_id", "thread_ts", "user_id", "status", "jira_key", "created_at", "updated_at"),
)
SESSION: Final[LiteralString] = ", ".join(SESSION_COLUMNS)
# A channel that has had several ids has its rows under one of them; any other is its own home.
HOME: Final = (
    "coalesce((SELECT a.home_id FROM channel_aliases a WHERE a.channel_id = %(channel_id)s::text), "
    "%(channel_id)s::text)"
)
# The actor of a command, where it names one: threadsync/actors.py. And as it is stored.
ACTOR: Final = "%(actor)s::jsonb"
BY: Final = f"({ACTOR} - '{{groups,member}}'::text[])"
# The channel's setting `who` does not let this person of Slack act. Operators and programs may always,
# and for them nothing is looked up.
IS_REFUSED: Final = f"""CASE WHEN {ACTOR} ? 'user_id' THEN EXISTS (
        SELECT FROM channel_context w
        WHERE w.channel_id = {HOME} AND (w.context_data #> '{{threadsync,who}}') IS NOT NULL
          AND NOT threadsync_may_act(w.context_data #> '{{threadsync,who}}', {ACTOR})
    ) ELSE false END"""
# One row if the command is refused: then nothing else in its statement does anything.
REFUSED: Final = f"refused AS (SELECT WHERE {IS_REFUSED})"
FOUND_REFUSED: Final = "EXISTS (SELECT FROM refused)"
IS_ALLOWED: Final = f"NOT {FOUND_REFUSED}"
# In place of `SESSION`, for a command that was refused where there is none: one with the nil UUID.
NO_SESSION: Final = f"""'00000000-0000-0000-0000-000000000000'::uuid, %(channel_id)s::text,
       %(thread_ts)s::text, {ACTOR} ->> 'user_id', 'collecting', NULL, now(), now()"""
# In place of "there is no session": the thread began before its channel was forgotten.
TOMBSTONE: Final = f"threadsync_tombstone({HOME}, %(thread_ts)s::text)"

# Carries out an act of a person on the session's ticket: the function is in migrations/0011_who.sql. On a
# tombstone a repeated act is as stale as any.
ACT: Final[LiteralString] = f"""
WITH {REFUSED}, untouched AS (
    SELECT {SESSION} FROM thread_sessions
    WHERE channel_id = {HOME} AND thread_ts = %(thread_ts)s::text AND {FOUND_REFUSED}
), acted AS (
    SELECT * FROM threadsync_act(
        %(act)s::text, {HOME}, %(thread_ts)s::text, %(jira_key)s::text, %(jira_id)s::text,
        %(command_id)s::uuid, {BY}, %(reason)s::text, %(asked_at)s::numeric
    ) WHERE {IS_ALLOWED}
)
SELECT {", ".join(f"(acted.session).{column}" for column in SESSION_COLUMNS)},
       CASE WHEN (acted.session).forgotten_at IS NULL THEN acted.outcome ELSE 'stale' END AS outcome,
       acted.key_before
FROM acted
UNION ALL
SELECT {SESSION}, 'stale', NULL FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM acted) AND {IS_ALLOWED}
UNION ALL
SELECT {SESSION}, 'refused', NULL FROM untouched
UNION ALL
SELECT {NO_SESSION}, 'refused', NULL FROM refused WHERE NOT EXISTS (SELECT FROM untouched)
"""

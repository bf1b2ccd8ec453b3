"""Parts of SQL statements about one session: columns, its channel under any id, tombstone, acts."""
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
# The actor of a command, where it names one: threadsync/actors.py.
ACTOR: Final = "%(actor)s::jsonb"
# In place of "there is no session": the thread began before its channel was forgotten.
TOMBSTONE: Final = f"threadsync_tombstone({HOME}, %(thread_ts)s::text)"

# Carries out an act of a person on the session's ticket: the function is in migrations/0011_who.sql. On a
# tombstone a repeated act is as stale as any.
ACT: Final[LiteralString] = f"""
WITH acted AS (
    SELECT * FROM threadsync_act(
        %(act)s::text, {HOME}, %(thread_ts)s::text, %(jira_key)s::text, %(jira_id)s::text,
        %(command_id)s::uuid, {ACTOR}, %(reason)s::text, %(asked_at)s::numeric
    )
)
SELECT {", ".join(f"(acted.session).{column}" for column in SESSION_COLUMNS)},
       CASE WHEN (acted.session).forgotten_at IS NULL THEN acted.outcome ELSE 'stale' END AS outcome,
       acted.key_before
FROM acted
UNION ALL
SELECT {SESSION}, 'stale', NULL FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM acted)
"""

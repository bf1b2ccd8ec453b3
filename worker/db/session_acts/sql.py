"""SQL of acts on a session's ticket, which are recorded with their outcome."""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.session_parts import ACTOR, HOME, SESSION, SESSION_COLUMNS, TOMBSTONE

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

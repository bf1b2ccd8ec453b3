"""SQL of the lists that begin with what changed last. Each reads few rows more than it shows."""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.dead_letters.sql import DEAD_LETTER
from worker.db.session_parts import HOME, SESSION
from worker.db.syncs.sql import STATE

_BEFORE: Final = "< (%(at)s::timestamptz, %(id)s::uuid)"

# A page of sessions of all statuses is merged from a page of each one. They are found in the index, one probe
# each, so that those that only another release knows are among them.
_EVERY_STATUS: Final = """WITH RECURSIVE kinds AS (
    (SELECT status FROM thread_sessions ORDER BY status LIMIT 1)
    UNION ALL
    SELECT (SELECT n.status FROM thread_sessions n WHERE n.status > k.status ORDER BY n.status LIMIT 1)
    FROM kinds k WHERE k.status IS NOT NULL
)"""

SESSIONS_BY_STATUS: Final[LiteralString] = f"""
SELECT {SESSION}, updated_at::text AS place FROM thread_sessions
WHERE status = %(status)s AND (updated_at, id) {_BEFORE}
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s
"""

SESSIONS: Final[LiteralString] = f"""
{_EVERY_STATUS}
SELECT p.* FROM kinds k CROSS JOIN LATERAL (
    SELECT {SESSION}, updated_at::text AS place FROM thread_sessions t
    WHERE t.status = k.status AND (t.updated_at, t.id) {_BEFORE}
    ORDER BY t.updated_at DESC, t.id DESC LIMIT %(limit)s
) AS p
WHERE k.status IS NOT NULL
ORDER BY p.updated_at DESC, p.id DESC LIMIT %(limit)s
"""

SESSIONS_BY_CHANNEL_AND_STATUS: Final[LiteralString] = f"""
SELECT {SESSION}, updated_at::text AS place FROM thread_sessions
WHERE channel_id = {HOME} AND status = %(status)s AND (updated_at, id) {_BEFORE}
ORDER BY updated_at DESC, id DESC LIMIT %(limit)s
"""

SESSIONS_BY_CHANNEL: Final[LiteralString] = f"""
{_EVERY_STATUS}
SELECT p.* FROM kinds k CROSS JOIN LATERAL (
    SELECT {SESSION}, updated_at::text AS place FROM thread_sessions t
    WHERE t.channel_id = {HOME} AND t.status = k.status AND (t.updated_at, t.id) {_BEFORE}
    ORDER BY t.updated_at DESC, t.id DESC LIMIT %(limit)s
) AS p
WHERE k.status IS NOT NULL
ORDER BY p.updated_at DESC, p.id DESC LIMIT %(limit)s
"""

SYNCS_BY_STATE: Final[LiteralString] = f"""
SELECT {STATE}, s.updated_at::text AS place
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.state = %(state)s AND (s.updated_at, s.session_id) {_BEFORE}
ORDER BY s.updated_at DESC, s.session_id DESC LIMIT %(limit)s
"""

DEAD_LETTERS_BY_STATE: Final[LiteralString] = f"""
SELECT {DEAD_LETTER}, coalesce(settled_at, died_at)::text AS place FROM dead_letters
WHERE state = %(state)s AND (coalesce(settled_at, died_at), id) {_BEFORE}
ORDER BY coalesce(settled_at, died_at) DESC, id DESC LIMIT %(limit)s
"""

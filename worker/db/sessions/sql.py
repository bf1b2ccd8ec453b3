"""SQL of sessions and channel contexts. Rules of the commands that ``many_sql`` has, too, are in ``parts``.

Each command is one statement. The commands on sessions share a shape: the first part answers from the
row as it is, when the row needs no change (a duplicate costs no write); the second part writes, and
its ``RETURNING old`` says what the row was at the moment of writing, races included. Status only moves
forward, so a row that the first part finds settled stays settled. A session that was forgotten is settled
for good: each command on it is stale, and writes nothing. For a command of a person whom the channel's `who`
does not let act each row is settled, and the outcome is `refused`.
"""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.channels.parts import MERGED, OUTCOME_OF_PATCH
from worker.db.session_parts import (
    BY,
    FOUND_REFUSED,
    HOME,
    IS_ALLOWED,
    NO_SESSION,
    REFUSED,
    SESSION,
    TOMBSTONE,
)
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
    THREAD,
    WAS_LEFT,
)

_OUTCOME: Final = f"CASE WHEN {FOUND_REFUSED} THEN 'refused' ELSE"
# Behind the results, of which `answer` has those of the session: what is refused where there is none.
_OR_REFUSED: Final = f"""UNION ALL
SELECT {NO_SESSION}, 'refused' FROM refused WHERE NOT EXISTS (SELECT FROM answer)"""
_CONTEXT: Final = "channel_id, context_data, version, updated_at"

# Opens the thread's session. The no-op DO UPDATE makes a concurrent winner's row visible to the loser. A
# thread that was forgotten with its channel gets a tombstone, so that nothing else comes of it. One whose
# person was forgotten is opened without that person, and an earlier draft loses its words.
GET_OR_CREATE_SESSION: Final[LiteralString] = f"""
WITH {REFUSED}, answer AS (
    SELECT {SESSION}, forgotten_at FROM thread_sessions WHERE {THREAD}
), inserted AS (
    INSERT INTO thread_sessions (channel_id, thread_ts, user_id, opened_by, forgotten_at, drafts_since)
    SELECT {OPENED}
    FROM {ASKED}
    WHERE NOT EXISTS (SELECT FROM answer) AND {IS_ALLOWED}
    {OR_FOUND}
)
SELECT {SESSION}, {_OUTCOME} {OUTCOME_OF_FOUND} END AS outcome FROM answer
UNION ALL
SELECT {SESSION}, outcome FROM inserted
{_OR_REFUSED}
"""

# Moves a session forward to `collecting` or `ready_to_sync`, never back. No row: there is no session.
UPDATE_STATUS: Final[LiteralString] = f"""
WITH {REFUSED}, settled AS (
    SELECT {SESSION}, forgotten_at FROM thread_sessions
    WHERE {THREAD}
      AND ({HAS_MOVED_ON} OR {FOUND_REFUSED})
), updated AS (
    UPDATE thread_sessions
    SET {MOVED_ON}
    WHERE {THREAD} AND NOT EXISTS (SELECT FROM settled)
    RETURNING {NEW_SESSION}, old.status AS status_before, new.forgotten_at
), answer AS (
    SELECT {SESSION}, status AS status_before, forgotten_at FROM settled
    UNION ALL
    SELECT {SESSION}, status_before, forgotten_at FROM updated
)
SELECT {SESSION},
       {_OUTCOME} {OUTCOME_OF_STATUS} END AS outcome
FROM answer
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM answer) AND {IS_ALLOWED}
{_OR_REFUSED}
"""

# Asks for the session's ticket. The latest draft wins, and of the same moment the greater one, so that their
# order does not matter. A draft that comes while a create is in flight, or may have made a ticket, is kept in
# case that another create is needed, and is `stale`; so is one from before the last ticket was unlinked.
# A sync that waited for a person is tried again with a newer draft, unless the whole site is in trouble. A
# draft that was on its way when its person was forgotten loses its words, but may still be the first request
# for the thread's ticket.
REQUEST_SYNC: Final[LiteralString] = f"""
WITH {REFUSED}, answer AS (
    SELECT {SESSION} FROM thread_sessions WHERE {THREAD} AND (forgotten_at IS NOT NULL OR {FOUND_REFUSED})
), session AS (
    UPDATE thread_sessions
    SET {READY}
    WHERE {THREAD} AND NOT EXISTS (SELECT FROM answer)
    RETURNING {NEW_SESSION}, new.forgotten_at,
              {IS_TOO_OLD},
              {IS_ANYBODYS} AS is_wordless
), {ASKED_FOR},
              {IS_THE_SAME} AS is_the_same
)
SELECT {SESSION},
       {OUTCOME_OF_DRAFT} AS outcome
FROM session LEFT JOIN asked a ON a.session_id = session.id
UNION ALL
SELECT {SESSION}, {_OUTCOME} 'stale' END FROM answer
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE}
WHERE NOT EXISTS (SELECT FROM session) AND NOT EXISTS (SELECT FROM answer) AND {IS_ALLOWED}
{_OR_REFUSED}
"""

# Writes the ticket's key, once. A session that has another key comes back as it is, with outcome `conflict`,
# and one from which a person unlinked this key, with `stale`.
# A sync that is open needs no ticket any more; one that may have made one is still looked after.
# A row is settled once it has a key. (With empty statistics `status = 'synced'` would scan every synced
# session.)
MARK_SYNCED: Final[LiteralString] = f"""
WITH {REFUSED}, settled AS (
    SELECT {SESSION}, {IS_LEFT} AS is_left, forgotten_at FROM thread_sessions
    WHERE {THREAD} AND ({HAS_KEY} OR {FOUND_REFUSED})
), updated AS (
    UPDATE thread_sessions
    SET {SYNCED}
    WHERE {THREAD} AND NOT EXISTS (SELECT FROM settled)
    RETURNING {NEW_SESSION}, old.jira_key AS key_before, {WAS_LEFT} AS is_left, new.forgotten_at
), {CLOSED}, answer AS (
    SELECT {SESSION}, jira_key AS key_before, is_left, forgotten_at FROM settled
    UNION ALL
    SELECT {SESSION}, key_before, is_left, forgotten_at FROM updated
)
SELECT {SESSION},
       {_OUTCOME} {OUTCOME_OF_KEY} END AS outcome
FROM answer
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM answer) AND {IS_ALLOWED}
{_OR_REFUSED}
"""

# One session by its id.
GET_SESSION: Final[LiteralString] = f"SELECT {SESSION} FROM thread_sessions WHERE id = %(session_id)s"

# One session by its thread.
GET_SESSION_BY_THREAD: Final[LiteralString] = f"SELECT {SESSION} FROM thread_sessions WHERE {THREAD}"

# A page of a channel's sessions, newest first, from the id before `before`. No id is null, but NULLS LAST is
# the order of the channel's index and not that of the primary key, which Postgres would rather walk, past the
# sessions of every other channel.
LIST_SESSIONS_BY_CHANNEL: Final[LiteralString] = f"""
SELECT {SESSION} FROM thread_sessions
WHERE channel_id = {HOME} AND id < %(before)s::uuid
ORDER BY id DESC NULLS LAST LIMIT %(limit)s
"""

# The same for one status.
LIST_SESSIONS_BY_CHANNEL_AND_STATUS: Final[LiteralString] = f"""
SELECT {SESSION} FROM thread_sessions
WHERE channel_id = {HOME} AND status = %(status)s AND id < %(before)s::uuid
ORDER BY id DESC NULLS LAST LIMIT %(limit)s
"""

# A page of all sessions, newest first.
LIST_SESSIONS: Final[LiteralString] = f"""
SELECT {SESSION} FROM thread_sessions
WHERE id < %(before)s::uuid
ORDER BY id DESC LIMIT %(limit)s
"""

# The same for one status.
LIST_SESSIONS_BY_STATUS: Final[LiteralString] = f"""
SELECT {SESSION} FROM thread_sessions
WHERE status = %(status)s AND id < %(before)s::uuid
ORDER BY id DESC NULLS LAST LIMIT %(limit)s
"""

# A channel's context.
GET_CHANNEL_CONTEXT: Final[LiteralString] = (
    f"SELECT {_CONTEXT} FROM channel_context WHERE channel_id = {HOME}"
)

# Notes that a channel got another id: the function is in migrations/0011_who.sql.
CHANNEL_MOVED: Final[LiteralString] = f"""
WITH moved AS (
    SELECT * FROM threadsync_channel_moved(%(channel_id)s::text, %(new_channel_id)s::text, {BY})
), acted AS (
    INSERT INTO channel_acts (channel_id, act, moved_to, actor)
    SELECT %(channel_id)s::text, 'move', %(new_channel_id)s::text, {BY} FROM moved WHERE outcome = 'applied'
)
SELECT %(channel_id)s::text AS channel_id, %(new_channel_id)s::text AS new_channel_id,
       home_id, newest_id, sessions, outcome
FROM moved
"""

# Applies a merge patch once a command_id; see `MERGED`.
MERGE_CHANNEL_CONTEXT: Final[LiteralString] = f"""
WITH {MERGED}
SELECT {_CONTEXT}, {OUTCOME_OF_PATCH}
FROM merged
UNION ALL
SELECT {_CONTEXT}, 'refused' FROM channel_context WHERE channel_id = {HOME} AND EXISTS (SELECT FROM refused)
"""

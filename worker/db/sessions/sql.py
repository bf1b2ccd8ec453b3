"""SQL of sessions and channel contexts, readable alone. DDL is in ``migrations/``.

Each command is one statement. The commands on sessions share a shape: the first part answers from the
row as it is, when the row needs no change (a duplicate costs no write); the second part writes, and
its ``RETURNING old`` says what the row was at the moment of writing, races included. Status only moves
forward, so a row that the first part finds settled stays settled. A session that was forgotten is settled
for good: each command on it is stale, and writes nothing.
"""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.session_parts import ACTOR, HOME, SESSION, SESSION_COLUMNS, TOMBSTONE
from worker.db.syncs.parts import restarted_if

_NEW_SESSION: Final = ", ".join(f"new.{column}" for column in SESSION_COLUMNS)
# The session was not forgotten while the statement waited for its row.
_MOVES_ON: Final = "status = 'collecting' AND forgotten_at IS NULL"
# A person unlinked this key from the session: a machine that reports it later repeats old news.
_IS_LEFT: Final = "%(jira_key)s::text = ANY (left_keys)"
_GETS_KEY: Final = f"jira_key IS NULL AND forgotten_at IS NULL AND NOT {_IS_LEFT}"
_WAS_LEFT: Final = "%(jira_key)s::text = ANY (old.left_keys)"
_THREAD: Final = f"channel_id = {HOME} AND thread_ts = %(thread_ts)s"
_CONTEXT: Final = "channel_id, context_data, version, updated_at"
# The moment of a draft. One in the future was stored before such moments were refused; it counts as the
# oldest, for otherwise no later draft would ever win.
_STORED_AT: Final = (
    """CASE WHEN s.drafted_at > extract(epoch FROM now()) + 172800 THEN 0 ELSE s.drafted_at END"""
)
# A draft that is older than the unlinking of the session's ticket makes no other ticket.
_BECOMES_READY: Final = """status = 'collecting' AND forgotten_at IS NULL
            AND (unlinked_at IS NULL OR %(drafted_at)s::numeric > unlinked_at)"""
# The draft is older than an act of forgetting in this thread, and may be the forgotten person's.
_IS_ANYBODYS: Final = f"""(%(drafted_at)s::numeric < drafts_since
            AND ({ACTOR} IS NULL OR drafts_since < extract(epoch FROM now()) - 86400))"""
# A newer draft may fix the faults of the older one.
_IS_ANSWERED: Final = f"""(s.state IN ('failed', 'review') OR s.state = 'blocked' AND NOT s.parked)
            AND (excluded.drafted_at, excluded.draft) > ({_STORED_AT}, s.draft)"""
_REVIVED: Final = f"{restarted_if(_IS_ANSWERED, 'now()')}, updated_at = now()"

# Opens the thread's session. The no-op DO UPDATE makes a concurrent winner's row visible to the loser. A
# thread that was forgotten with its channel gets a tombstone, so that nothing else comes of it. One whose
# person was forgotten is opened without that person, and an earlier draft loses its words.
GET_OR_CREATE_SESSION: Final[LiteralString] = f"""
WITH existing AS (
    SELECT {SESSION}, forgotten_at FROM thread_sessions WHERE {_THREAD}
), inserted AS (
    INSERT INTO thread_sessions (channel_id, thread_ts, user_id, opened_by, forgotten_at, drafts_since)
    SELECT {HOME}, %(thread_ts)s,
           CASE WHEN with_channel OR is_forgotten THEN 'forgotten' ELSE %(user_id)s::text END,
           CASE WHEN NOT with_channel AND NOT is_forgotten THEN {ACTOR} END,
           CASE WHEN with_channel THEN now() END,
           CASE WHEN is_forgotten THEN extract(epoch FROM now()) END
    FROM (
        SELECT EXISTS (
            SELECT FROM forgotten_channels c
            WHERE c.channel_id = {HOME} AND %(thread_ts)s::numeric < extract(epoch FROM c.forgotten_at)
        ) AS with_channel, %(user_id)s::text = 'forgotten' OR EXISTS (
            SELECT FROM forgotten_people p
            WHERE p.forgotten_at > now() - interval '1 day'
              AND p.hash = threadsync_person_hash(p.key, %(user_id)s::text)
        ) AS is_forgotten
    ) AS asked
    WHERE NOT EXISTS (SELECT FROM existing)
    ON CONFLICT ON CONSTRAINT thread_sessions_thread_key DO UPDATE SET user_id = thread_sessions.user_id
    RETURNING {_NEW_SESSION},
              CASE WHEN new.forgotten_at IS NOT NULL THEN 'stale'
                   WHEN old.id IS NULL THEN 'created'
                   ELSE 'unchanged' END AS outcome
)
SELECT {SESSION}, CASE WHEN forgotten_at IS NULL THEN 'unchanged' ELSE 'stale' END AS outcome FROM existing
UNION ALL
SELECT {SESSION}, outcome FROM inserted
"""

# Moves a session forward to `collecting` or `ready_to_sync`, never back. No row: there is no session.
UPDATE_STATUS: Final[LiteralString] = f"""
WITH settled AS (
    SELECT {SESSION}, forgotten_at FROM thread_sessions
    WHERE {_THREAD}
      AND (status <> 'collecting' OR %(status)s::text = 'collecting' OR forgotten_at IS NOT NULL)
), updated AS (
    UPDATE thread_sessions
    SET status = CASE WHEN {_MOVES_ON} THEN %(status)s::text ELSE status END,
        ready_at = CASE WHEN {_MOVES_ON} THEN now() ELSE ready_at END,
        ready_by = CASE WHEN {_MOVES_ON} THEN {ACTOR} ELSE ready_by END,
        updated_at = CASE WHEN {_MOVES_ON} THEN now() ELSE updated_at END
    WHERE {_THREAD} AND NOT EXISTS (SELECT FROM settled)
    RETURNING {_NEW_SESSION}, old.status AS status_before, new.forgotten_at
), answer AS (
    SELECT {SESSION}, status AS status_before, forgotten_at FROM settled
    UNION ALL
    SELECT {SESSION}, status_before, forgotten_at FROM updated
)
SELECT {SESSION},
       CASE WHEN forgotten_at IS NOT NULL THEN 'stale'
            WHEN status_before = %(status)s::text THEN 'unchanged'
            WHEN status_before = 'collecting' THEN 'applied'
            ELSE 'stale' END AS outcome
FROM answer
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM answer)
"""

# Asks for the session's ticket. The latest draft wins, and of the same moment the greater one, so that their
# order does not matter. A draft that comes while a create is in flight, or may have made a ticket, is kept in
# case that another create is needed, and is `stale`; so is one from before the last ticket was unlinked.
# A sync that waited for a person is tried again with a newer draft, unless the whole site is in trouble. A
# draft that was on its way when its person was forgotten loses its words, but may still be the first request
# for the thread's ticket.
REQUEST_SYNC: Final[LiteralString] = f"""
WITH forgotten AS (
    SELECT {SESSION} FROM thread_sessions WHERE {_THREAD} AND forgotten_at IS NOT NULL
), session AS (
    UPDATE thread_sessions
    SET status = CASE WHEN {_BECOMES_READY} THEN 'ready_to_sync' ELSE status END,
        ready_at = CASE WHEN {_BECOMES_READY} THEN now() ELSE ready_at END,
        ready_by = CASE WHEN {_BECOMES_READY} THEN CASE WHEN {_IS_ANYBODYS} THEN NULL ELSE {ACTOR} END
                        ELSE ready_by END,
        updated_at = CASE WHEN {_BECOMES_READY} THEN now() ELSE updated_at END
    WHERE {_THREAD} AND NOT EXISTS (SELECT FROM forgotten)
    RETURNING {_NEW_SESSION}, new.forgotten_at,
              coalesce(%(drafted_at)s::numeric <= new.unlinked_at, false) AS is_too_old,
              {_IS_ANYBODYS} AS is_wordless
), asked AS (
    INSERT INTO syncs AS s (session_id, draft, drafted_at, drafted_by, queued_until)
    SELECT id,
           CASE WHEN is_wordless THEN threadsync_without_words(%(draft)s::jsonb) ELSE %(draft)s::jsonb END,
           %(drafted_at)s::numeric, CASE WHEN NOT coalesce(is_wordless, false) THEN {ACTOR} END,
           now() + interval '15 s'
    FROM session WHERE status <> 'synced' AND NOT is_too_old AND forgotten_at IS NULL
    ON CONFLICT ON CONSTRAINT syncs_pkey DO UPDATE
    SET (draft, drafted_at, drafted_by) = (
            SELECT d.draft, d.drafted_at, d.drafted_by
            FROM (VALUES (s.draft, s.drafted_at, s.drafted_by, {_STORED_AT}),
                         (excluded.draft, excluded.drafted_at, excluded.drafted_by, excluded.drafted_at))
                AS d (draft, drafted_at, drafted_by, counts_from)
            ORDER BY d.counts_from DESC, d.draft DESC, d.drafted_by DESC NULLS LAST LIMIT 1
        ),
        {_REVIVED}
    RETURNING new.session_id, old.session_id IS NULL AS is_new, old.state AS state_before,
              (new.drafted_at, new.draft) IS DISTINCT FROM (old.drafted_at, old.draft) AS is_newer,
              old.drafted_at = %(drafted_at)s::numeric AND old.draft = %(draft)s::jsonb AS is_the_same
)
SELECT {SESSION},
       CASE WHEN forgotten_at IS NOT NULL OR is_too_old AND status <> 'synced' THEN 'stale'
            WHEN a.session_id IS NULL OR is_the_same THEN 'unchanged'
            WHEN is_new OR is_newer AND state_before NOT IN ('inflight', 'unknown') THEN 'applied'
            ELSE 'stale' END AS outcome
FROM session LEFT JOIN asked a ON a.session_id = session.id
UNION ALL
SELECT {SESSION}, 'stale' FROM forgotten
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE}
WHERE NOT EXISTS (SELECT FROM session) AND NOT EXISTS (SELECT FROM forgotten)
"""

# Writes the ticket's key, once. A session that has another key comes back as it is, with outcome `conflict`,
# and one from which a person unlinked this key, with `stale`.
# A sync that is open needs no ticket any more; one that may have made one is still looked after.
# A row is settled once it has a key. (With empty statistics `status = 'synced'` would scan every synced
# session.)
MARK_SYNCED: Final[LiteralString] = f"""
WITH settled AS (
    SELECT {SESSION}, {_IS_LEFT} AS is_left, forgotten_at FROM thread_sessions
    WHERE {_THREAD} AND (jira_key IS NOT NULL OR {_IS_LEFT} OR forgotten_at IS NOT NULL)
), updated AS (
    UPDATE thread_sessions
    SET status = CASE WHEN {_IS_LEFT} OR forgotten_at IS NOT NULL THEN status ELSE 'synced' END,
        jira_key = CASE WHEN {_GETS_KEY} THEN %(jira_key)s::text ELSE jira_key END,
        synced_at = CASE WHEN {_GETS_KEY} THEN now() ELSE synced_at END,
        synced_by = CASE WHEN {_GETS_KEY} THEN {ACTOR} ELSE synced_by END,
        updated_at = CASE WHEN {_GETS_KEY} THEN now() ELSE updated_at END
    WHERE {_THREAD} AND NOT EXISTS (SELECT FROM settled)
    RETURNING {_NEW_SESSION}, old.jira_key AS key_before, {_WAS_LEFT} AS is_left, new.forgotten_at
), closed AS (
    UPDATE syncs s
    SET state = 'done', jira_key = u.jira_key, origin = 'named', done_at = now(), next_attempt_at = now(),
        jira_id = CASE WHEN s.jira_key = u.jira_key THEN s.jira_id END,
        reason = NULL, detail = NULL, parked = false, lease_until = NULL, queued_until = NULL,
        fence = s.fence + 1, announce_at = now(), updated_at = now()
    FROM updated u
    WHERE u.key_before IS NULL AND u.jira_key IS NOT NULL AND u.forgotten_at IS NULL
      AND s.session_id = u.id AND s.state NOT IN ('inflight', 'unknown', 'done')
), answer AS (
    SELECT {SESSION}, jira_key AS key_before, is_left, forgotten_at FROM settled
    UNION ALL
    SELECT {SESSION}, key_before, is_left, forgotten_at FROM updated
)
SELECT {SESSION},
       CASE WHEN forgotten_at IS NOT NULL THEN 'stale'
            WHEN key_before = %(jira_key)s::text THEN 'unchanged'
            WHEN is_left THEN 'stale'
            WHEN key_before IS NULL THEN 'applied'
            ELSE 'conflict' END AS outcome
FROM answer
UNION ALL
SELECT {SESSION}, 'stale' FROM {TOMBSTONE} WHERE NOT EXISTS (SELECT FROM answer)
"""

# One session by its id.
GET_SESSION: Final[LiteralString] = f"SELECT {SESSION} FROM thread_sessions WHERE id = %(session_id)s"

# One session by its thread.
GET_SESSION_BY_THREAD: Final[LiteralString] = f"SELECT {SESSION} FROM thread_sessions WHERE {_THREAD}"

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
SELECT %(channel_id)s::text AS channel_id, %(new_channel_id)s::text AS new_channel_id,
       home_id, newest_id, sessions, outcome
FROM threadsync_channel_moved(%(channel_id)s::text, %(new_channel_id)s::text, {ACTOR})
"""

# Applies a merge patch once a command_id. `first_time` is empty for a repetition; its write changes nothing.
# For a day after its channel was forgotten a patch is stale: it may have been on its way.
MERGE_CHANNEL_CONTEXT: Final[LiteralString] = f"""
WITH forgotten AS (
    SELECT FROM forgotten_channels
    WHERE channel_id = {HOME} AND forgotten_at > now() - interval '1 day'
), first_time AS (
    INSERT INTO channel_context_commands (channel_id, command_id, applied_by)
    SELECT {HOME}, %(command_id)s, {ACTOR} WHERE NOT EXISTS (SELECT FROM forgotten)
    ON CONFLICT ON CONSTRAINT channel_context_commands_pkey DO NOTHING
    RETURNING command_id
), merged AS (
    INSERT INTO channel_context AS c (channel_id, context_data)
    SELECT {HOME}, CASE WHEN EXISTS (SELECT FROM forgotten) THEN '{{}}'
                         ELSE threadsync_merge_patch('{{}}', %(patch)s::jsonb) END
    ON CONFLICT ON CONSTRAINT channel_context_pkey DO UPDATE
    SET context_data = CASE WHEN EXISTS (SELECT FROM first_time)
                            THEN threadsync_merge_patch(c.context_data, %(patch)s::jsonb)
                            ELSE c.context_data END,
        version = c.version + (SELECT count(*)::integer FROM first_time),
        updated_at = CASE WHEN EXISTS (SELECT FROM first_time) THEN now() ELSE c.updated_at END
    RETURNING new.channel_id, new.context_data, new.version, new.updated_at,
              old.channel_id IS NULL AS inserted
)
SELECT {_CONTEXT},
       CASE WHEN EXISTS (SELECT FROM forgotten) THEN 'stale'
            WHEN inserted THEN 'created'
            WHEN EXISTS (SELECT FROM first_time) THEN 'applied'
            ELSE 'unchanged' END AS outcome
FROM merged
"""

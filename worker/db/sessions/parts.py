"""Parts of the statements on sessions: each rule once, for a command alone and for many at once.

They name a command's fields as parameters. ``for_many`` has them name columns of the input instead, and so
makes the part of the statement for many.
"""
# ruff: noqa: S608 - made of names that stand here

from __future__ import annotations

from typing import Final

from worker.db.session_parts import ACTOR, BY, HOME, SESSION_COLUMNS
from worker.db.syncs.parts import restarted_if

NEW_SESSION: Final = ", ".join(f"new.{column}" for column in SESSION_COLUMNS)
THREAD: Final = f"channel_id = {HOME} AND thread_ts = %(thread_ts)s"
# The session was not forgotten while the statement waited for its row.
_MOVES_ON: Final = "status = 'collecting' AND forgotten_at IS NULL"
# A person unlinked this key from the session: a machine that reports it later repeats old news.
IS_LEFT: Final = "%(jira_key)s::text = ANY (left_keys)"
WAS_LEFT: Final = "%(jira_key)s::text = ANY (old.left_keys)"
_GETS_KEY: Final = f"jira_key IS NULL AND forgotten_at IS NULL AND NOT {IS_LEFT}"
# The moment of a draft. One in the future was stored before such moments were refused; it counts as the
# oldest, for otherwise no later draft would ever win.
_STORED_AT: Final = (
    """CASE WHEN s.drafted_at > extract(epoch FROM now()) + 172800 THEN 0 ELSE s.drafted_at END"""
)
# A draft that is older than the unlinking of the session's ticket makes no other ticket.
_BECOMES_READY: Final = """status = 'collecting' AND forgotten_at IS NULL
            AND (unlinked_at IS NULL OR %(drafted_at)s::numeric > unlinked_at)"""
# The draft is older than an act of forgetting in this thread, and may be the forgotten person's.
IS_ANYBODYS: Final = f"""(%(drafted_at)s::numeric < drafts_since
            AND ({ACTOR} IS NULL OR drafts_since < extract(epoch FROM now()) - 86400))"""
# A newer draft may fix the faults of the older one.
_IS_ANSWERED: Final = f"""(s.state IN ('failed', 'review') OR s.state = 'blocked' AND NOT s.parked)
            AND (excluded.drafted_at, excluded.draft) > ({_STORED_AT}, s.draft)"""
_REVIVED: Final = f"{restarted_if(_IS_ANSWERED, 'now()')}, updated_at = now()"

# What a new session is made of, from `ASKED`: whether its channel or its person was forgotten.
OPENED: Final = f"""{HOME}, %(thread_ts)s,
           CASE WHEN with_channel OR is_forgotten THEN 'forgotten' ELSE %(user_id)s::text END,
           CASE WHEN NOT with_channel AND NOT is_forgotten THEN {BY} END,
           CASE WHEN with_channel THEN now() END,
           CASE WHEN is_forgotten THEN extract(epoch FROM now()) END"""
ASKED: Final = f"""(
        SELECT EXISTS (
            SELECT FROM forgotten_channels c
            WHERE c.channel_id = {HOME} AND %(thread_ts)s::numeric < extract(epoch FROM c.forgotten_at)
        ) AS with_channel, %(user_id)s::text = 'forgotten' OR EXISTS (
            SELECT FROM forgotten_people p
            WHERE p.forgotten_at > now() - interval '1 day'
              AND p.hash = threadsync_person_hash(p.key, %(user_id)s::text)
        ) AS is_forgotten
    ) AS asked"""
_SAME_THREAD: Final = "ON CONSTRAINT thread_sessions_thread_key"
# The no-op update makes a concurrent winner's row visible to the loser.
OR_FOUND: Final = f"""ON CONFLICT {_SAME_THREAD} DO UPDATE SET user_id = thread_sessions.user_id
    RETURNING {NEW_SESSION},
              CASE WHEN new.forgotten_at IS NOT NULL THEN 'stale'
                   WHEN old.id IS NULL THEN 'created'
                   ELSE 'unchanged' END AS outcome"""
OUTCOME_OF_FOUND: Final = "CASE WHEN forgotten_at IS NULL THEN 'unchanged' ELSE 'stale' END"

HAS_MOVED_ON: Final = (
    "(status <> 'collecting' OR %(status)s::text = 'collecting' OR forgotten_at IS NOT NULL)"
)
MOVED_ON: Final = f"""status = CASE WHEN {_MOVES_ON} THEN %(status)s::text ELSE status END,
        ready_at = CASE WHEN {_MOVES_ON} THEN now() ELSE ready_at END,
        ready_by = CASE WHEN {_MOVES_ON} THEN {BY} ELSE ready_by END,
        updated_at = CASE WHEN {_MOVES_ON} THEN now() ELSE updated_at END"""
OUTCOME_OF_STATUS: Final = """CASE WHEN forgotten_at IS NOT NULL THEN 'stale'
            WHEN status_before = %(status)s::text THEN 'unchanged'
            WHEN status_before = 'collecting' THEN 'applied'
            ELSE 'stale' END"""

READY: Final = f"""status = CASE WHEN {_BECOMES_READY} THEN 'ready_to_sync' ELSE status END,
        ready_at = CASE WHEN {_BECOMES_READY} THEN now() ELSE ready_at END,
        ready_by = CASE WHEN {_BECOMES_READY} THEN CASE WHEN {IS_ANYBODYS} THEN NULL ELSE {BY} END
                        ELSE ready_by END,
        updated_at = CASE WHEN {_BECOMES_READY} THEN now() ELSE updated_at END"""
IS_TOO_OLD: Final = "coalesce(%(drafted_at)s::numeric <= new.unlinked_at, false) AS is_too_old"
# From `session`, which was made ready.
ASKED_FOR: Final = f"""asked AS (
    INSERT INTO syncs AS s (session_id, draft, drafted_at, drafted_by, queued_until)
    SELECT id,
           CASE WHEN is_wordless THEN threadsync_without_words(%(draft)s::jsonb) ELSE %(draft)s::jsonb END,
           %(drafted_at)s::numeric, CASE WHEN NOT coalesce(is_wordless, false) THEN {BY} END,
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
              (new.drafted_at, new.draft) IS DISTINCT FROM (old.drafted_at, old.draft) AS is_newer"""
IS_THE_SAME: Final = "old.drafted_at = %(drafted_at)s::numeric AND old.draft = %(draft)s::jsonb"
_IS_STALE: Final = "forgotten_at IS NOT NULL OR is_too_old AND status <> 'synced'"
OUTCOME_OF_DRAFT: Final = f"""CASE WHEN {_IS_STALE} THEN 'stale'
            WHEN a.session_id IS NULL OR is_the_same THEN 'unchanged'
            WHEN is_new OR is_newer AND state_before NOT IN ('inflight', 'unknown') THEN 'applied'
            ELSE 'stale' END"""

HAS_KEY: Final = f"(jira_key IS NOT NULL OR {IS_LEFT} OR forgotten_at IS NOT NULL)"
SYNCED: Final = f"""status = CASE WHEN {IS_LEFT} OR forgotten_at IS NOT NULL THEN status ELSE 'synced' END,
        jira_key = CASE WHEN {_GETS_KEY} THEN %(jira_key)s::text ELSE jira_key END,
        synced_at = CASE WHEN {_GETS_KEY} THEN now() ELSE synced_at END,
        synced_by = CASE WHEN {_GETS_KEY} THEN {BY} ELSE synced_by END,
        updated_at = CASE WHEN {_GETS_KEY} THEN now() ELSE updated_at END"""
# Of `updated`, the sessions that got their key.
CLOSED: Final = """closed AS (
    UPDATE syncs s
    SET state = 'done', jira_key = u.jira_key, origin = 'named', done_at = now(), next_attempt_at = now(),
        jira_id = CASE WHEN s.jira_key = u.jira_key THEN s.jira_id END,
        reason = NULL, detail = NULL, parked = false, lease_until = NULL, queued_until = NULL,
        fence = s.fence + 1, announce_at = now(), updated_at = now()
    FROM updated u
    WHERE u.key_before IS NULL AND u.jira_key IS NOT NULL AND u.forgotten_at IS NULL
      AND s.session_id = u.id AND s.state NOT IN ('inflight', 'unknown', 'done')
)"""
OUTCOME_OF_KEY: Final = """CASE WHEN forgotten_at IS NOT NULL THEN 'stale'
            WHEN key_before = %(jira_key)s::text THEN 'unchanged'
            WHEN is_left THEN 'stale'
            WHEN key_before IS NULL THEN 'applied'
            ELSE 'conflict' END"""

"""SQL of what people decide about syncs: try again, or give up."""
# ruff: noqa: S608 - the only f-strings here insert the fragments above; values are always parameters

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.parts import GO_ON, IN_DOUBT, IS_FREE, NOW

# The actor, where it is known: threadsync/actors.py.
_BY: Final = "%(acted_by)s::jsonb"

# Decisions about a sync, oldest first.
LIST_ACTIONS: Final[LiteralString] = """
SELECT at, action, actor, reason, acted_by, jira_key FROM (
    SELECT id, at, action, actor, reason, acted_by, NULL AS jira_key
    FROM sync_actions WHERE session_id = %(session_id)s
    UNION ALL
    SELECT id, at, action, actor, reason, NULL, NULL
    FROM session_actions WHERE session_id = %(session_id)s
    UNION ALL
    SELECT id, at, act, coalesce(actor ->> 'user_id', actor ->> 'name', ''), coalesce(reason, ''), actor,
           jira_key
    FROM session_acts WHERE session_id = %(session_id)s AND outcome IN ('applied', 'unchanged')
) AS decision ORDER BY id
"""

# Tries a sync again, but not a draft whose ticket was unlinked. No row: there is no such sync, or nothing to
# try, or a step is in progress.
_RETRIED: Final[LiteralString] = f"""retried AS (
    UPDATE syncs s
    SET {GO_ON}
    WHERE s.session_id = %(session_id)s AND {IS_FREE}
      AND s.state IN ('retry_wait', 'unknown', 'blocked', 'failed', 'review')
      AND (s.reason IS NULL OR s.reason NOT IN ('moved', 'forgotten', 'draft_expired'))
      AND s.forgetting IS DISTINCT FROM 'tombstone'
      AND ({IN_DOUBT} OR NOT EXISTS (
          SELECT FROM thread_sessions t WHERE t.id = s.session_id AND s.drafted_at <= t.unlinked_at
      ))"""
RETRY: Final[LiteralString] = f"""
WITH {_RETRIED}
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {NOW}, 'retry', %(actor)s, %(reason)s, {_BY} FROM retried
)
SELECT session_id FROM retried
"""

# The same for a command with an id, once: one that comes again undoes no decision that was made since. A
# person of Slack whom the channel's `who` does not let act is refused.
RETRY_ONCE: Final[LiteralString] = f"""
WITH refused AS (
    SELECT t.id FROM thread_sessions t JOIN channel_context w ON w.channel_id = t.channel_id
    WHERE t.id = %(session_id)s AND (w.context_data #> '{{threadsync,who}}') IS NOT NULL
      AND NOT threadsync_may_act(w.context_data #> '{{threadsync,who}}', %(acting)s::jsonb)
), {_RETRIED}
      AND NOT EXISTS (SELECT FROM refused)
      AND NOT EXISTS (
          SELECT FROM sync_actions a
          WHERE a.session_id = s.session_id AND a.command_id = %(command_id)s::uuid
      )
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by, command_id)
    SELECT session_id, {NOW}, 'retry', %(actor)s, %(reason)s, {_BY}, %(command_id)s::uuid FROM retried
)
SELECT session_id, false AS is_refused FROM retried
UNION ALL
SELECT id, true FROM refused
"""

# The same for all that is blocked, on every site; neither probes nor pauses are waited for.
RETRY_ALL_BLOCKED: Final[LiteralString] = f"""
WITH closed AS (
    UPDATE jira_sites SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL, paused_until = NULL
    WHERE trouble IS NOT NULL OR paused_until > {NOW}
), resumed AS (
    UPDATE jira_pauses SET paused_until = {NOW} WHERE paused_until > {NOW}
), blocked AS (
    SELECT s.session_id FROM syncs s WHERE s.state = 'blocked' ORDER BY s.session_id FOR UPDATE
), retried AS (
    UPDATE syncs s
    SET {GO_ON}
    FROM blocked WHERE s.session_id = blocked.session_id
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {NOW}, 'retry', %(actor)s, %(reason)s, {_BY} FROM retried
)
SELECT session_id FROM retried
"""

# Gives a sync up. A ticket that may have been created stays, and a later retry looks for it first. No row:
# there is no such sync, or it is over, or a create is in flight.
GIVE_UP: Final[LiteralString] = f"""
WITH given_up AS (
    UPDATE syncs s
    SET state = 'failed', reason = 'given_up', detail = NULL, parked = false, next_attempt_at = NULL,
        queued_until = NULL, lease_until = NULL, fence = s.fence + 1, announce_at = {NOW},
        updated_at = {NOW}
    WHERE s.session_id = %(session_id)s
      AND s.state IN ('pending', 'retry_wait', 'unknown', 'blocked', 'failed', 'review')
      AND NOT EXISTS (SELECT FROM thread_sessions t WHERE t.id = s.session_id AND t.forgotten_at IS NOT NULL)
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {NOW}, 'give_up', %(actor)s, %(reason)s, {_BY} FROM given_up
)
SELECT session_id FROM given_up
"""

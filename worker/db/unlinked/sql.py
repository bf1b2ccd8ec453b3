"""SQL of unlinked tickets. A writer has claimed the ticket first."""

from __future__ import annotations

from typing import Final, LiteralString

_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
_MINE: Final = (
    "l.session_id = %(session_id)s AND l.jira_key = %(jira_key)s AND l.fence = %(fence)s "
    "AND l.linked_again_at IS NULL"
)

# Unlinked tickets of one session, oldest first.
LIST_UNLINKED: Final[LiteralString] = """
SELECT jira_key, left_at, linked_again_at, link_removed_at, commented_at, given_up, detail, next_attempt_at
FROM left_tickets WHERE session_id = %(session_id)s ORDER BY left_at, jira_key
"""

# Takes one that is due and free, with what its steps need to know. No row: not due, or another has it.
CLAIM: Final[LiteralString] = f"""
WITH claimed AS (
    UPDATE left_tickets l
    SET fence = l.fence + 1, lease_until = {_NOW} + make_interval(secs => %(lease)s), queued_until = NULL
    WHERE l.session_id = %(session_id)s AND l.jira_key = %(jira_key)s AND l.next_attempt_at <= {_NOW}
      AND (l.lease_until IS NULL OR l.lease_until <= {_NOW})
    RETURNING new.*
)
SELECT c.session_id, c.jira_key, c.jira_id, c.site, c.act_id, c.left_at, c.fence, c.failures,
       c.link_removed_at, c.commented_at, c.comment_deadline, c.detail, {_NOW} AS now,
       t.channel_id, t.thread_ts, s.marker,
       (SELECT a.newest_id FROM channel_aliases a WHERE a.channel_id = t.channel_id) AS newest_channel_id
FROM claimed c JOIN thread_sessions t ON t.id = c.session_id LEFT JOIN syncs s ON s.session_id = c.session_id
"""

# Keeps the id of a ticket of which only the key was known.
NOTE_ID: Final[LiteralString] = """
UPDATE left_tickets SET jira_id = %(jira_id)s WHERE session_id = %(session_id)s AND jira_key = %(jira_key)s
RETURNING session_id
"""

# Notes that its link to the thread is gone.
NOTE_LINK_REMOVED: Final[LiteralString] = f"""
UPDATE left_tickets l SET link_removed_at = {_NOW} WHERE {_MINE} RETURNING l.session_id
"""

# Commits to a comment before it is sent. No row: the claim is lost, or the ticket is the session's again.
BEGIN_COMMENT: Final[LiteralString] = f"""
UPDATE left_tickets l SET comment_deadline = {_NOW} + make_interval(secs => %(deadline)s)
WHERE {_MINE} RETURNING l.session_id
"""

# Lets go of it; it is due again after `delay`.
RELEASE: Final[LiteralString] = f"""
UPDATE left_tickets l
SET lease_until = NULL, next_attempt_at = {_NOW} + make_interval(secs => %(delay)s), failures = %(failures)s,
    detail = %(detail)s,
    comment_deadline = CASE WHEN %(is_in_doubt)s THEN l.comment_deadline END,
    commented_at = CASE WHEN %(is_commented)s THEN coalesce(l.commented_at, {_NOW}) ELSE l.commented_at END
WHERE {_MINE} RETURNING l.session_id
"""

# Ends its steps: `given_up` says why, and is null when the ticket has its comment.
END: Final[LiteralString] = f"""
UPDATE left_tickets l
SET lease_until = NULL, next_attempt_at = NULL, queued_until = NULL,
    given_up = %(given_up)s, detail = %(detail)s,
    commented_at = CASE WHEN %(given_up)s::text IS NULL THEN coalesce(l.commented_at, {_NOW}) END
WHERE {_MINE} RETURNING l.session_id
"""

# Due ones that no message is on its way for, oldest first.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT l.session_id, l.jira_key FROM left_tickets l
    WHERE l.next_attempt_at <= {_NOW} AND (l.queued_until IS NULL OR l.queued_until <= {_NOW})
      AND (l.lease_until IS NULL OR l.lease_until <= {_NOW})
    ORDER BY l.next_attempt_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE left_tickets l SET queued_until = {_NOW} + make_interval(secs => %(for_seconds)s)
-- An array, because Postgres takes a join of unknown size for a large one, and would read the whole table.
WHERE l.session_id = ANY (ARRAY(SELECT session_id FROM due))
  AND (l.session_id, l.jira_key) IN (SELECT session_id, jira_key FROM due)
RETURNING l.session_id, l.jira_key
"""

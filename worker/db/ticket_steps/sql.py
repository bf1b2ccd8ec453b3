"""SQL of the steps that follow a ticket. A writer has claimed the step first."""

from __future__ import annotations

from typing import Final, LiteralString

_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
_KEY: Final = (
    "s.session_id = %(session_id)s AND s.jira_id = %(jira_id)s AND s.step = %(step)s "
    "AND s.file_id = %(file_id)s"
)
_MINE: Final = f"{_KEY} AND s.fence = %(fence)s"
_OVER: Final = "lease_until = NULL, next_attempt_at = NULL, queued_until = NULL"
# Slack's and Jira's parts of the same ticket.
_SIBLINGS: Final = "o.session_id = c.session_id AND o.jira_id = c.jira_id"

# Steps of one session's tickets, in the order in which they come.
LIST_STEPS: Final[LiteralString] = """
SELECT jira_key, step, file_id, include, begun_at, next_attempt_at, failures, done_at, given_up, http_status,
       fields
FROM ticket_steps WHERE session_id = %(session_id)s
ORDER BY begun_at, jira_key, array_position(ARRAY['link', 'plan', 'file', 'attachment', 'thread'], step),
         file_id
"""

# Takes one that is due and free, with what it needs to know. No row: not due, or another process has it.
CLAIM: Final[LiteralString] = f"""
WITH claimed AS (
    UPDATE ticket_steps s
    SET fence = s.fence + 1, lease_until = {_NOW} + make_interval(secs => %(lease)s), queued_until = NULL
    WHERE {_KEY} AND s.next_attempt_at <= {_NOW} AND (s.lease_until IS NULL OR s.lease_until <= {_NOW})
    RETURNING new.*
)
SELECT c.session_id, c.jira_id, c.step, c.file_id, c.jira_key, coalesce(c.site, y.site) AS site, c.include,
       c.begun_at, c.fence, c.failures, c.write_deadline, {_NOW} AS now, t.channel_id, t.thread_ts, y.marker,
       y.drafted_at::text AS drafted_at, y.origin IS DISTINCT FROM 'named' AND y.state = 'done'
           AND y.linked_back_at IS NULL AS lacks_link_back,
       greatest(c.begun_at, y.linked_back_at) AS links_since, c.done_at,
       -- Who asked for this very ticket. A draft that came while it was made may be another person's.
       CASE WHEN y.origin IN ('created', 'found') AND y.jira_id = c.jira_id
                 AND y.drafted_at = coalesce((SELECT a.drafted_at FROM sync_attempts a
                                              WHERE a.session_id = y.session_id AND a.step = 'create'
                                              ORDER BY a.number DESC LIMIT 1), y.drafted_at)
            THEN y.drafted_by END AS requested_by,
       t.forgotten_at IS NOT NULL AS is_forgotten,
       (SELECT a.newest_id FROM channel_aliases a WHERE a.channel_id = t.channel_id) AS newest_channel_id,
       (SELECT x.context_data FROM channel_context x WHERE x.channel_id = t.channel_id AND c.step = 'plan')
           AS context,
       ARRAY(SELECT o.file_id FROM ticket_steps o
             WHERE {_SIBLINGS} AND o.step IN ('file', 'attachment') AND o.next_attempt_at IS NOT NULL
               AND c.step = 'thread') AS unfinished,
       ARRAY(SELECT o.file_id || '='
                    || CASE WHEN o.done_at IS NOT NULL THEN 'copied' ELSE coalesce(o.given_up, 'pending') END
             FROM ticket_steps o
             WHERE {_SIBLINGS} AND o.step = 'file' AND c.step IN ('thread', 'attachment')) AS files,
       (SELECT CASE WHEN o.done_at IS NOT NULL THEN 'done' WHEN o.given_up IS NOT NULL THEN 'given_up'
                    ELSE 'open' END
        FROM ticket_steps o WHERE {_SIBLINGS} AND o.step = 'attachment' AND c.step = 'thread') AS attachment
FROM claimed c JOIN thread_sessions t ON t.id = c.session_id LEFT JOIN syncs y ON y.session_id = c.session_id
"""

# Commits to a write before it is sent. No row: the claim is lost (also by an unlink), or the thread was
# forgotten.
BEGIN_WRITE: Final[LiteralString] = f"""
UPDATE ticket_steps s SET write_deadline = {_NOW} + make_interval(secs => %(deadline)s)
FROM thread_sessions t
WHERE {_MINE} AND t.id = s.session_id AND t.forgotten_at IS NULL
RETURNING s.session_id
"""

# Lets go of it; it is due again after `delay`. Jira's last refusal stays in sight.
RELEASE: Final[LiteralString] = f"""
UPDATE ticket_steps s
SET lease_until = NULL, next_attempt_at = {_NOW} + make_interval(secs => %(delay)s), failures = %(failures)s,
    http_status = coalesce(%(http_status)s::integer, s.http_status),
    fields = CASE WHEN %(http_status)s::integer IS NULL THEN s.fields ELSE %(fields)s::text[] END,
    write_deadline = CASE WHEN %(is_in_doubt)s THEN s.write_deadline END,
    done_at = CASE WHEN %(is_done)s THEN coalesce(s.done_at, {_NOW}) ELSE s.done_at END
WHERE {_MINE} RETURNING s.session_id
"""

# Ends it: `given_up` says why, and is null when it was carried out. What waited for it is due now.
END: Final[LiteralString] = f"""
WITH ended AS (
    UPDATE ticket_steps s
    SET {_OVER}, given_up = %(given_up)s,
        http_status = CASE WHEN %(given_up)s::text IS NOT NULL
                           THEN coalesce(%(http_status)s::integer, s.http_status) END,
        fields = CASE WHEN %(given_up)s::text IS NULL THEN '{{}}'
                      WHEN %(http_status)s::integer IS NULL THEN s.fields ELSE %(fields)s::text[] END,
        done_at = CASE WHEN %(given_up)s::text IS NULL THEN coalesce(s.done_at, {_NOW}) END
    WHERE {_MINE} RETURNING s.session_id, s.jira_id, s.step
), woken AS (
    UPDATE ticket_steps o SET next_attempt_at = {_NOW}
    FROM ended c
    WHERE {_SIBLINGS} AND o.step = 'thread' AND c.step IN ('file', 'attachment')
      AND o.next_attempt_at > {_NOW} AND o.write_deadline IS NULL
)
SELECT session_id FROM ended
"""

# Ends the plan, and begins what it says, each once.
PLAN: Final[LiteralString] = f"""
WITH ended AS (
    UPDATE ticket_steps s
    SET {_OVER}, done_at = {_NOW}, include = %(include)s, http_status = NULL, fields = '{{}}'
    WHERE {_MINE} RETURNING s.*
)
INSERT INTO ticket_steps
    (session_id, jira_id, step, file_id, jira_key, site, include, begun_at, next_attempt_at, given_up)
SELECT e.session_id, e.jira_id, p.step, p.file_id, e.jira_key, e.site, e.include, {_NOW},
       CASE WHEN p.given_up = '' THEN {_NOW} END, nullif(p.given_up, '')
FROM ended e,
     unnest(%(steps)s::text[], %(file_ids)s::text[], %(reasons)s::text[]) AS p (step, file_id, given_up)
ON CONFLICT ON CONSTRAINT ticket_steps_pkey DO NOTHING
RETURNING session_id
"""

# Begins the attachment that the comment needs, and lets go of the comment, which waits for it.
NEED_ATTACHMENT: Final[LiteralString] = f"""
WITH waiting AS (
    UPDATE ticket_steps s
    SET lease_until = NULL, next_attempt_at = {_NOW} + make_interval(secs => %(delay)s), write_deadline = NULL
    WHERE {_MINE} RETURNING s.*
)
INSERT INTO ticket_steps (session_id, jira_id, step, jira_key, site, include, begun_at, next_attempt_at)
SELECT w.session_id, w.jira_id, 'attachment', w.jira_key, w.site, w.include, {_NOW}, {_NOW} FROM waiting w
ON CONFLICT ON CONSTRAINT ticket_steps_pkey DO NOTHING
RETURNING session_id
"""

# Due ones that no message is on its way for, oldest first. One that must wait for another comes up in time.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id, s.jira_id, s.step, s.file_id FROM ticket_steps s
    WHERE s.next_attempt_at <= {_NOW} AND (s.queued_until IS NULL OR s.queued_until <= {_NOW})
      AND (s.lease_until IS NULL OR s.lease_until <= {_NOW})
    ORDER BY s.next_attempt_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE ticket_steps s SET queued_until = {_NOW} + make_interval(secs => %(for_seconds)s)
-- An array, because Postgres takes a join of unknown size for a large one, and would read the whole table.
WHERE s.session_id = ANY (ARRAY(SELECT session_id FROM due))
  AND (s.session_id, s.jira_id, s.step, s.file_id) IN (SELECT session_id, jira_id, step, file_id FROM due)
RETURNING s.session_id, s.jira_id, s.step, s.file_id
"""

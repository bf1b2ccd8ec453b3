"""SQL of syncs and their steps. The states and what moves a sync: docs/understand/tickets.md.

A step claims its sync first, and every later write says the claim's ``fence``: a process that comes too late
writes nothing. Where the session is written too, its row is locked first, as the session commands do, so that
there is no deadlock.
"""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.parts import IS_FREE, NOW, PAUSED_UNTIL
from worker.db.syncs.progress import ASSIGNMENTS, COLUMNS

_MINE: Final = "s.session_id = %(session_id)s AND s.fence = %(fence)s"
# Nothing here waits for longer than a day, which is the longest settle time.
_TOO_FAR: Final = f"{NOW} + interval '2 days'"
STATE: Final = """
    s.session_id, t.channel_id, t.thread_ts, s.state, s.reason, s.parked, s.site,
    (SELECT count(*) FROM sync_attempts a
     WHERE a.session_id = s.session_id AND a.step = 'create') AS attempts,
    s.next_attempt_at, coalesce(t.jira_key, s.jira_key) AS jira_key, s.origin, s.duplicates, s.requested_at,
    s.updated_at, s.made_with"""
# A new attempt of the sync that a statement has moved.
_NOTE: Final = f"""INSERT INTO sync_attempts
        (session_id, number, step, fence, started_at, finished_at, outcome, http_status, trace_id, reason,
         detail)
    SELECT m.session_id,
           1 + coalesce((SELECT max(number) FROM sync_attempts a WHERE a.session_id = m.session_id), 0),
           %(step)s, m.fence, coalesce(%(started_at)s::timestamptz, {NOW}), {NOW}, %(outcome)s,
           %(http_status)s, %(trace_id)s, %(reason)s, %(detail)s
    FROM moved m"""

# One sync, with what a claim needs to know beforehand.
GET_SYNC: Final[LiteralString] = f"""
SELECT {STATE}, s.draft, s.drafted_at, s.detail, s.marker,
       coalesce(
           (SELECT m.trouble FROM status_messages m WHERE m.session_id = s.session_id),
           (SELECT i.trouble FROM slack_installation i WHERE s.announce_at IS NOT NULL AND i.id)
       ) AS slack_trouble
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.session_id = %(session_id)s
"""

# A draft, if this person of Slack wrote it.
GET_DRAFT: Final[LiteralString] = """
SELECT s.draft, s.drafted_at, s.reason, s.detail, t.channel_id, t.thread_ts
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.session_id = %(session_id)s AND t.forgotten_at IS NULL
  AND s.drafted_by ->> 'user_id' = %(user_id)s::text AND s.drafted_by ->> 'team_id' = %(team_id)s::text
"""

# A page of syncs, newest session first.
LIST_SYNCS: Final[LiteralString] = f"""
SELECT {STATE}
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.session_id < %(before)s::uuid
ORDER BY s.session_id DESC LIMIT %(limit)s
"""

# The same for one state.
LIST_SYNCS_BY_STATE: Final[LiteralString] = f"""
SELECT {STATE}
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.state = %(state)s AND s.session_id < %(before)s::uuid
ORDER BY s.session_id DESC NULLS LAST LIMIT %(limit)s
"""

# Attempts of a sync, oldest first.
LIST_ATTEMPTS: Final[LiteralString] = """
SELECT number, step, started_at, deadline, finished_at, outcome, http_status, trace_id, reason, detail
FROM sync_attempts WHERE session_id = %(session_id)s ORDER BY number
"""

# The Jira of each session's ticket.
SITES_OF: Final[LiteralString] = """
SELECT session_id, site FROM syncs WHERE session_id = ANY (%(session_ids)s::uuid[]) AND site IS NOT NULL
"""

# Takes a sync that is due and free. One that was in flight is now one that maybe made a ticket: its process
# is gone. A sync that surely made none goes to the Jira that the settings name now; all others stay with
# theirs. No row: not due, or another process has it.
CLAIM: Final[LiteralString] = f"""
WITH claimed AS (
    UPDATE syncs s
    SET fence = s.fence + 1,
        lease_until = {NOW} + make_interval(secs => %(lease)s),
        queued_until = NULL,
        unfinished_claims = s.unfinished_claims + 1,
        site = CASE WHEN s.state IN ('pending', 'retry_wait') THEN %(site)s
                    ELSE coalesce(s.site, %(site)s) END,
        state = CASE s.state WHEN 'inflight' THEN 'unknown' ELSE s.state END,
        reason = CASE s.state WHEN 'inflight' THEN 'worker_died' ELSE s.reason END,
        looks = CASE s.state WHEN 'inflight' THEN 0 ELSE s.looks END,
        absences = CASE s.state WHEN 'inflight' THEN 0 ELSE s.absences END,
        announce_at = CASE s.state WHEN 'inflight' THEN {NOW} ELSE s.announce_at END,
        updated_at = CASE s.state WHEN 'inflight' THEN {NOW} ELSE s.updated_at END
    WHERE s.session_id = %(session_id)s AND s.next_attempt_at <= {NOW} AND {IS_FREE}
    RETURNING new.*, old.state AS state_before, old.updated_at AS updated_before
), ended AS (
    UPDATE sync_attempts a SET outcome = 'unknown', finished_at = {NOW}, reason = 'worker_died'
    FROM claimed c
    WHERE c.state_before = 'inflight' AND a.session_id = c.session_id AND a.step = 'create'
      AND a.outcome IS NULL
), doubt AS (
    SELECT max(d.deadline) AS deadline, min(d.baseline) AS baseline, max(d.project_key) AS doubtful_project,
           coalesce(
               jsonb_agg(DISTINCT jsonb_build_object('account', d.account, 'has_reporter', d.has_reporter)),
               '[]'
           ) AS doubtful_senders
    FROM sync_attempts d
    WHERE d.session_id = %(session_id)s AND d.step = 'create' AND (d.outcome IS NULL OR d.outcome = 'unknown')
)
SELECT c.session_id, t.channel_id, t.thread_ts, c.made_with,
       (SELECT x.context_data -> 'threadsync' FROM channel_context x WHERE x.channel_id = t.channel_id)
           AS channel_settings,
       (SELECT a.newest_id FROM channel_aliases a WHERE a.channel_id = t.channel_id) AS newest_channel_id,
       t.jira_key AS session_key, c.fence, {NOW} AS now, c.state, c.reason,
       c.site, c.marker, c.draft,
       c.unfinished_claims, {COLUMNS}, c.jira_key, c.duplicates, c.updated_before,
       c.origin, c.done_at, c.linked_back_at, c.audited_at, doubt.deadline, doubt.baseline,
       doubt.doubtful_project, doubt.doubtful_senders, c.drafted_by,
       EXISTS (
           SELECT FROM sync_attempts r WHERE r.session_id = c.session_id AND r.reason = 'reporter_refused'
       ) AS was_reporter_refused,
       coalesce(c.drafted_at <= t.unlinked_at, false) AS is_unlinked,
       t.left_keys AS unlinked_keys, ARRAY(
           SELECT l.jira_id FROM left_tickets l
           WHERE l.session_id = c.session_id AND l.linked_again_at IS NULL AND l.jira_id IS NOT NULL
       ) AS unlinked_ids, ARRAY(
           SELECT l.jira_key FROM left_tickets l
           WHERE l.session_id = c.session_id AND l.linked_again_at IS NULL AND l.jira_id IS NULL
             AND l.given_up IS DISTINCT FROM 'gone'
       ) AS unlinked_without_id
FROM claimed c JOIN thread_sessions t ON t.id = c.session_id, doubt
"""

# Stores the marker of a sync that has none, before Jira is called for it the first time.
MARK: Final[LiteralString] = f"UPDATE syncs s SET marker = %(marker)s WHERE {_MINE} AND s.marker IS NULL"

# Locks the creates of one project: no other process counts them meanwhile. Ends with its transaction.
LOCK_PROJECT: Final[LiteralString] = """
SELECT pg_advisory_xact_lock(hashtextextended(%(site)s || '|' || %(project_key)s, 0))
"""

# Commits to a create, before it is sent. No row: the claim is lost, or so many others are in flight, or the
# draft now names another project, or a person has just named the ticket.
BEGIN_CREATE: Final[LiteralString] = f"""
WITH session AS (
    SELECT id, unlinked_at FROM thread_sessions
    WHERE id = %(session_id)s AND jira_key IS NULL AND alias_of IS NULL AND forgotten_at IS NULL
    FOR NO KEY UPDATE
), begun AS (
    UPDATE syncs s
    SET state = 'inflight', reason = NULL, detail = NULL, project_key = %(project_key)s,
        -- A type of the draft's is a word of a person's, and stays there.
        made_with = jsonb_strip_nulls(jsonb_build_object(
            'project_key', %(project_key)s::text,
            'project_from', CASE WHEN s.draft ->> 'project_key' IS NULL THEN %(project_from)s::text
                                 ELSE 'draft' END,
            'issue_type', CASE WHEN s.draft ->> 'issue_type' IS NULL THEN %(issue_type)s::text END,
            'issue_type_from', CASE WHEN s.draft ->> 'issue_type' IS NULL THEN %(issue_type_from)s::text
                                    ELSE 'draft' END
        )),
        lease_until = {NOW} + make_interval(secs => %(lease)s),
        next_attempt_at = {NOW} + make_interval(secs => %(lease)s),
        turn_until = {NOW} + make_interval(secs => %(turn)s),
        announce_at = {NOW}, updated_at = {NOW}
    FROM session
    WHERE {_MINE} AND s.session_id = session.id AND s.state IN ('pending', 'retry_wait')
      AND coalesce(s.drafted_at > session.unlinked_at, true)
      AND coalesce(s.draft ->> 'project_key', %(default_project_key)s) = %(project_key)s
      AND %(at_once)s > (
          SELECT count(*) FROM syncs o
          WHERE o.site = %(site)s AND o.project_key = %(project_key)s AND o.state = 'inflight'
            AND o.turn_until > {NOW}
      )
    RETURNING s.session_id, s.fence, s.draft, s.drafted_at, s.drafted_by
), noted AS (
    INSERT INTO sync_attempts
        (session_id, number, step, fence, started_at, deadline, project_key, baseline, drafted_at, account,
         has_reporter)
    SELECT b.session_id,
           1 + coalesce((SELECT max(number) FROM sync_attempts a WHERE a.session_id = b.session_id), 0),
           'create', b.fence, {NOW}, {NOW} + make_interval(secs => %(deadline)s), %(project_key)s,
           %(baseline)s, b.drafted_at, %(account)s::text, %(has_reporter)s::boolean
    FROM begun b
    RETURNING number
)
SELECT begun.draft, begun.drafted_by, noted.number FROM begun, noted
"""

# Tickets of a project that the account created, newest first, among the newest that are done.
TICKETS_LIKE: Final[LiteralString] = """
SELECT newest.jira_id
FROM (
    -- Without other conditions, so that no more rows are read, however few of them are wanted.
    SELECT s.session_id, s.jira_id, s.site, s.origin FROM syncs s
    WHERE s.state = 'done'
    ORDER BY s.session_id DESC NULLS LAST
    LIMIT 2000
) AS newest
-- For each by itself, because a join of so many could read the whole table.
CROSS JOIN LATERAL (
    SELECT FROM sync_attempts a
    WHERE a.session_id = newest.session_id AND a.step = 'create' AND a.outcome = 'created'
      AND a.project_key = %(project_key)s AND a.account IS NOT DISTINCT FROM %(account)s::text
      AND a.has_reporter = %(has_reporter)s::boolean
    LIMIT 1
) AS created
WHERE newest.site = %(site)s AND newest.origin = 'created' AND newest.jira_id IS NOT NULL
ORDER BY newest.session_id DESC NULLS LAST
LIMIT %(limit)s
"""

# Checks that a claim still holds.
HAS_CLAIM: Final[LiteralString] = f"SELECT EXISTS (SELECT FROM syncs s WHERE {_MINE}) AS has_claim"

# Writes how a step ended and lets go of the sync. When there is a ticket, the session gets its key in the
# same moment. A session that a person gave another ticket meanwhile keeps it: two tickets need
# a person. A ticket that was surely not created for such a session is not created any more.
FINISH: Final[LiteralString] = f"""
WITH session AS (
    SELECT id, jira_key FROM thread_sessions WHERE id = %(session_id)s FOR NO KEY UPDATE
), verdict AS (
    SELECT id AS session_id, jira_key AS session_key,
           CASE WHEN jira_key IS NULL OR jira_key = %(jira_key)s::text THEN %(state)s::text
                WHEN %(jira_key)s::text IS NOT NULL OR %(state)s::text = 'review' THEN 'review'
                WHEN %(state)s::text = 'unknown' THEN 'unknown'
                ELSE 'done' END AS state
    FROM session
), moved AS (
    UPDATE syncs s
    SET state = v.state,
        reason = CASE WHEN v.state = 'review' AND %(state)s::text = 'done' THEN 'two_tickets'
                      WHEN v.state = 'done' THEN NULL ELSE %(reason)s::text END,
        detail = CASE WHEN v.state = 'done' THEN NULL ELSE %(detail)s::text END,
        parked = v.state = 'blocked' AND %(parked)s,
        lease_until = NULL, turn_until = NULL, queued_until = NULL, unfinished_claims = 0,
        next_attempt_at = CASE WHEN v.state = 'done' THEN {NOW}
                               WHEN v.state IN ('blocked', 'failed', 'review') THEN NULL
                               ELSE {NOW} + make_interval(secs => %(delay)s::float8) END,
        {ASSIGNMENTS},
        jira_id = coalesce(%(jira_id)s::text, s.jira_id),
        jira_key = coalesce(
            %(jira_key)s::text, CASE WHEN v.state = 'done' THEN v.session_key END, s.jira_key
        ),
        origin = CASE WHEN v.state <> 'done' THEN s.origin
                      WHEN %(jira_key)s::text IS NULL THEN 'named' ELSE %(origin)s::text END,
        done_at = CASE WHEN v.state = 'done' THEN coalesce(s.done_at, {NOW}) END,
        announce_at = {NOW}, updated_at = {NOW}
    FROM verdict v
    WHERE {_MINE} AND v.session_id = s.session_id
    RETURNING s.*
), synced AS (
    UPDATE thread_sessions t
    SET status = 'synced', jira_key = m.jira_key, synced_at = now(), updated_at = now()
    FROM moved m WHERE t.id = m.session_id AND m.state = 'done' AND t.jira_key IS NULL
), ended AS (
    UPDATE sync_attempts a
    SET outcome = %(outcome)s, finished_at = {NOW}, http_status = %(http_status)s, trace_id = %(trace_id)s,
        reason = %(reason)s, detail = %(detail)s
    FROM moved m WHERE a.session_id = m.session_id AND a.number = %(number)s::integer AND a.outcome IS NULL
), settled AS (
    UPDATE sync_attempts a SET outcome = %(doubt_ends_as)s::text
    FROM moved m
    WHERE a.session_id = m.session_id AND a.step = 'create' AND a.outcome = 'unknown'
      AND %(doubt_ends_as)s::text IS NOT NULL AND a.number IS DISTINCT FROM %(number)s::integer
), noted AS (
    {_NOTE} WHERE %(number)s::integer IS NULL AND %(outcome)s::text IS NOT NULL
)
SELECT {STATE} FROM moved s JOIN thread_sessions t ON t.id = s.session_id
"""

# Lets go of a sync as it was; it is due again after `delay`.
RELEASE: Final[LiteralString] = f"""
WITH moved AS (
    UPDATE syncs s
    SET lease_until = NULL, unfinished_claims = 0,
        next_attempt_at = {NOW} + make_interval(secs => %(delay)s)
    WHERE {_MINE}
    RETURNING s.*
)
SELECT {STATE} FROM moved s JOIN thread_sessions t ON t.id = s.session_id
"""

# Writes what came of a step that follows a ticket: the link back to the thread, and the audit.
FOLLOW_UP: Final[LiteralString] = f"""
WITH moved AS (
    UPDATE syncs s
    SET lease_until = NULL, unfinished_claims = 0, failures = %(failures)s,
        linked_back_at = CASE WHEN %(step)s = 'link_back' AND %(is_over)s THEN {NOW}
                              ELSE s.linked_back_at END,
        audited_at = CASE WHEN %(step)s = 'audit' AND %(is_over)s THEN {NOW} ELSE s.audited_at END,
        duplicates = coalesce(%(duplicates)s::text[], s.duplicates),
        next_attempt_at = {NOW} + make_interval(secs => %(delay)s::float8),
        announce_at = CASE WHEN cardinality(%(duplicates)s::text[]) > 0 THEN {NOW} ELSE s.announce_at END
    WHERE {_MINE}
    RETURNING s.*
), noted AS (
    {_NOTE}
)
SELECT {STATE} FROM moved s JOIN thread_sessions t ON t.id = s.session_id
"""

# Makes due what waits for a moment that makes no sense, such as one of the year 2093 that a Jira asked for.
PULL_IN: Final[LiteralString] = f"""
UPDATE syncs s SET next_attempt_at = {NOW}, queued_until = NULL, lease_until = NULL
WHERE s.next_attempt_at > {_TOO_FAR}
RETURNING s.session_id
"""

# Due syncs that no message is on its way for, also when the broker lost it. Never more of them in the broker
# than `most`: who works slowly would find the same ones again and again.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id FROM syncs s
    WHERE s.next_attempt_at <= {NOW} AND (s.queued_until IS NULL OR s.queued_until <= {NOW}) AND {IS_FREE}
      AND NOT EXISTS (
          SELECT FROM jira_sites j
          WHERE j.site = s.site AND (
              j.trouble IS NOT NULL AND j.probe_session_id IS DISTINCT FROM s.session_id
              OR {PAUSED_UNTIL} > {NOW}
          )
      )
    ORDER BY s.next_attempt_at
    LIMIT greatest(0, %(most)s - (SELECT count(*) FROM syncs q WHERE q.queued_until > {NOW}))
    FOR UPDATE SKIP LOCKED
)
UPDATE syncs s SET queued_until = {NOW} + make_interval(secs => %(for_seconds)s)
-- An array, because Postgres takes a join of unknown size for a large one, and would read the whole table.
WHERE s.session_id = ANY (ARRAY(SELECT session_id FROM due))
RETURNING s.session_id
"""

# Jira has made a ticket with the value of a channel's setting: it is not unverified any more, unless it has
# another value by now.
CONFIRM_SETTING: Final[LiteralString] = """
UPDATE channel_context c
SET context_data = c.context_data #- ARRAY['threadsync', 'unverified', %(name)s::text]
WHERE c.channel_id = %(channel_id)s AND c.context_data #>> ARRAY['threadsync', %(name)s::text] = %(value)s
  AND c.context_data #> ARRAY['threadsync', 'unverified', %(name)s::text] IS NOT NULL
RETURNING c.channel_id
"""

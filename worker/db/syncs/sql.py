"""The SQL of syncs, readable alone. What moves a sync from state to state: docs/understand/tickets.md.

Who works on a sync has claimed it, and every later write says the claim's ``fence``: a process that
comes too late writes nothing. Where the session is written too, its row is locked first, as the session
commands do, so that nobody waits for the other one.
"""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.restarting import IN_DOUBT as _IN_DOUBT
from worker.db.syncs.restarting import restarted

# The database's clock, unless a test has one of its own.
_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
# Who decides, where that is known: threadsync/actors.py.
_BY: Final = "%(acted_by)s::jsonb"
_MINE: Final = "s.session_id = %(session_id)s AND s.fence = %(fence)s"
_IS_FREE: Final = f"(s.lease_until IS NULL OR s.lease_until <= {_NOW})"
# Goes on where it stopped.
_GO_ON: Final = f"{restarted(_NOW)}, updated_at = {_NOW}"
# No pause that is granted is longer than an hour and a fifth (`LONGEST_ASKED_SECONDS`): what ends later was
# written by something that knew no limit, and counts as none.
_PAUSED_UNTIL: Final = f"CASE WHEN paused_until <= {_NOW} + interval '2 hours' THEN paused_until END"
# Nothing here waits for longer than a day, which is the longest settle time.
_TOO_FAR: Final = f"{_NOW} + interval '2 days'"
_STATE: Final = """
    s.session_id, t.channel_id, t.thread_ts, s.state, s.reason, s.parked, s.site,
    (SELECT count(*) FROM sync_attempts a
     WHERE a.session_id = s.session_id AND a.step = 'create') AS attempts,
    s.next_attempt_at, coalesce(t.jira_key, s.jira_key) AS jira_key, s.origin, s.duplicates, s.requested_at,
    s.updated_at"""

# One sync, with what a claim needs to know beforehand.
GET_SYNC: Final[LiteralString] = f"""
SELECT {_STATE}, s.draft, s.drafted_at, s.detail, s.marker,
       coalesce(
           (SELECT m.trouble FROM status_messages m WHERE m.session_id = s.session_id),
           (SELECT i.trouble FROM slack_installation i WHERE s.announce_at IS NOT NULL AND i.id)
       ) AS slack_trouble
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.session_id = %(session_id)s
"""

# A page of syncs, newest session first.
LIST_SYNCS: Final[LiteralString] = f"""
SELECT {_STATE}
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.session_id < %(before)s::uuid
ORDER BY s.session_id DESC LIMIT %(limit)s
"""

# The same for one state.
LIST_SYNCS_BY_STATE: Final[LiteralString] = f"""
SELECT {_STATE}
FROM syncs s JOIN thread_sessions t ON t.id = s.session_id
WHERE s.state = %(state)s AND s.session_id < %(before)s::uuid
ORDER BY s.session_id DESC NULLS LAST LIMIT %(limit)s
"""

# What was tried for a sync, oldest first.
LIST_ATTEMPTS: Final[LiteralString] = """
SELECT number, step, started_at, deadline, finished_at, outcome, http_status, trace_id, reason, detail
FROM sync_attempts WHERE session_id = %(session_id)s ORDER BY number
"""

# What people decided about it, oldest first.
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

# The Jira of each session's ticket.
SITES_OF: Final[LiteralString] = """
SELECT session_id, site FROM syncs WHERE session_id = ANY (%(session_ids)s::uuid[]) AND site IS NOT NULL
"""

# Takes a sync that is due and that nobody has. One that was in flight is now one that maybe made a ticket:
# its process is gone. What has surely made none goes to the Jira that the settings name now; all else stays
# with the one that it was about. No row: not due, or another process has it.
CLAIM: Final[LiteralString] = f"""
WITH claimed AS (
    UPDATE syncs s
    SET fence = s.fence + 1,
        lease_until = {_NOW} + make_interval(secs => %(lease)s),
        queued_until = NULL,
        unfinished_claims = s.unfinished_claims + 1,
        site = CASE WHEN s.state IN ('pending', 'retry_wait') THEN %(site)s
                    ELSE coalesce(s.site, %(site)s) END,
        marker = coalesce(s.marker, %(marker)s),
        state = CASE s.state WHEN 'inflight' THEN 'unknown' ELSE s.state END,
        reason = CASE s.state WHEN 'inflight' THEN 'worker_died' ELSE s.reason END,
        looks = CASE s.state WHEN 'inflight' THEN 0 ELSE s.looks END,
        absences = CASE s.state WHEN 'inflight' THEN 0 ELSE s.absences END,
        announce_at = CASE s.state WHEN 'inflight' THEN {_NOW} ELSE s.announce_at END,
        updated_at = CASE s.state WHEN 'inflight' THEN {_NOW} ELSE s.updated_at END
    WHERE s.session_id = %(session_id)s AND s.next_attempt_at <= {_NOW} AND {_IS_FREE}
    RETURNING new.*, old.state AS state_before
), ended AS (
    UPDATE sync_attempts a SET outcome = 'unknown', finished_at = {_NOW}, reason = 'worker_died'
    FROM claimed c
    WHERE c.state_before = 'inflight' AND a.session_id = c.session_id AND a.step = 'create'
      AND a.outcome IS NULL
), doubt AS (
    SELECT max(d.deadline) AS deadline, min(d.baseline) AS baseline, max(d.project_key) AS doubtful_project
    FROM sync_attempts d
    WHERE d.session_id = %(session_id)s AND d.step = 'create' AND (d.outcome IS NULL OR d.outcome = 'unknown')
)
SELECT c.session_id, t.channel_id, t.thread_ts,
       (SELECT a.newest_id FROM channel_aliases a WHERE a.channel_id = t.channel_id) AS newest_channel_id,
       t.jira_key AS session_key, c.fence, {_NOW} AS now, c.state,
       c.site, c.marker, c.draft,
       c.unfinished_claims, c.failures, c.failing_since, c.looks, c.absences, c.recreates, c.jira_key,
       c.origin, c.done_at, c.linked_back_at, c.audited_at, doubt.deadline, doubt.baseline,
       doubt.doubtful_project, coalesce(c.drafted_at <= t.unlinked_at, false) AS is_taken_off,
       t.left_keys, ARRAY(
           SELECT l.jira_id FROM left_tickets l
           WHERE l.session_id = c.session_id AND l.linked_again_at IS NULL AND l.jira_id IS NOT NULL
       ) AS left_ids, ARRAY(
           SELECT l.jira_key FROM left_tickets l
           WHERE l.session_id = c.session_id AND l.linked_again_at IS NULL AND l.jira_id IS NULL
             AND l.given_up IS DISTINCT FROM 'gone'
       ) AS left_unknown
FROM claimed c JOIN thread_sessions t ON t.id = c.session_id, doubt
"""

# Creates of one project take turns: nobody else counts them while this one does. Ends with its transaction.
TAKE_TURN: Final[LiteralString] = """
SELECT pg_advisory_xact_lock(hashtextextended(%(site)s || '|' || %(project_key)s, 0))
"""

# Commits to a create, before it is sent. No row: the claim is lost, or so many others are in flight, or the
# draft now names another project, or somebody has just named the ticket.
BEGIN_CREATE: Final[LiteralString] = f"""
WITH session AS (
    SELECT id, unlinked_at FROM thread_sessions
    WHERE id = %(session_id)s AND jira_key IS NULL AND alias_of IS NULL AND forgotten_at IS NULL
    FOR NO KEY UPDATE
), begun AS (
    UPDATE syncs s
    SET state = 'inflight', reason = NULL, detail = NULL, project_key = %(project_key)s,
        lease_until = {_NOW} + make_interval(secs => %(lease)s),
        next_attempt_at = {_NOW} + make_interval(secs => %(lease)s),
        turn_until = {_NOW} + make_interval(secs => %(turn)s),
        announce_at = {_NOW}, updated_at = {_NOW}
    FROM session
    WHERE {_MINE} AND s.session_id = session.id AND s.state IN ('pending', 'retry_wait')
      AND coalesce(s.drafted_at > session.unlinked_at, true)
      AND coalesce(s.draft ->> 'project_key', %(default_project_key)s) = %(project_key)s
      AND %(at_once)s > (
          SELECT count(*) FROM syncs o
          WHERE o.site = %(site)s AND o.project_key = %(project_key)s AND o.state = 'inflight'
            AND o.turn_until > {_NOW}
      )
    RETURNING s.session_id, s.fence, s.draft, s.drafted_at
), noted AS (
    INSERT INTO sync_attempts
        (session_id, number, step, fence, started_at, deadline, project_key, baseline, drafted_at)
    SELECT b.session_id,
           1 + coalesce((SELECT max(number) FROM sync_attempts a WHERE a.session_id = b.session_id), 0),
           'create', b.fence, {_NOW}, {_NOW} + make_interval(secs => %(deadline)s), %(project_key)s,
           %(baseline)s, b.drafted_at
    FROM begun b
    RETURNING number
)
SELECT begun.draft, noted.number FROM begun, noted
"""

# Whether a claim still holds.
HAS_CLAIM: Final[LiteralString] = f"SELECT EXISTS (SELECT FROM syncs s WHERE {_MINE}) AS has_claim"

# Writes how a step ended and lets go of the sync. When there is a ticket, the session gets its key in the
# same moment. A session that somebody gave another ticket meanwhile keeps it: two tickets are for a person.
# What was surely not created for such a session need not be created any more.
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
        next_attempt_at = CASE WHEN v.state = 'done' THEN {_NOW}
                               WHEN v.state IN ('blocked', 'failed', 'review') THEN NULL
                               ELSE {_NOW} + make_interval(secs => %(delay)s::float8) END,
        failures = %(failures)s, failing_since = %(failing_since)s, looks = %(looks)s,
        absences = %(absences)s,
        recreates = %(recreates)s,
        jira_id = coalesce(%(jira_id)s::text, s.jira_id),
        jira_key = coalesce(
            %(jira_key)s::text, CASE WHEN v.state = 'done' THEN v.session_key END, s.jira_key
        ),
        origin = CASE WHEN v.state <> 'done' THEN s.origin
                      WHEN %(jira_key)s::text IS NULL THEN 'named' ELSE %(origin)s::text END,
        done_at = CASE WHEN v.state = 'done' THEN coalesce(s.done_at, {_NOW}) END,
        announce_at = {_NOW}, updated_at = {_NOW}
    FROM verdict v
    WHERE {_MINE} AND v.session_id = s.session_id
    RETURNING s.session_id, s.fence, s.state, s.jira_key
), synced AS (
    UPDATE thread_sessions t
    SET status = 'synced', jira_key = m.jira_key, synced_at = now(), updated_at = now()
    FROM moved m WHERE t.id = m.session_id AND m.state = 'done' AND t.jira_key IS NULL
), ended AS (
    UPDATE sync_attempts a
    SET outcome = %(outcome)s, finished_at = {_NOW}, http_status = %(http_status)s, trace_id = %(trace_id)s,
        reason = %(reason)s, detail = %(detail)s
    FROM moved m WHERE a.session_id = m.session_id AND a.number = %(number)s::integer AND a.outcome IS NULL
), settled AS (
    UPDATE sync_attempts a SET outcome = %(doubt_ends_as)s::text
    FROM moved m
    WHERE a.session_id = m.session_id AND a.step = 'create' AND a.outcome = 'unknown'
      AND %(doubt_ends_as)s::text IS NOT NULL AND a.number IS DISTINCT FROM %(number)s::integer
), noted AS (
    INSERT INTO sync_attempts
        (session_id, number, step, fence, started_at, finished_at, outcome, http_status, trace_id, reason,
         detail)
    SELECT m.session_id,
           1 + coalesce((SELECT max(number) FROM sync_attempts a WHERE a.session_id = m.session_id), 0),
           %(step)s, m.fence, coalesce(%(started_at)s::timestamptz, {_NOW}), {_NOW}, %(outcome)s,
           %(http_status)s, %(trace_id)s, %(reason)s, %(detail)s
    FROM moved m WHERE %(number)s::integer IS NULL AND %(outcome)s::text IS NOT NULL
)
SELECT state, jira_key FROM moved
"""

# Lets go of a sync as it was; it is due again after `delay`.
RELEASE: Final[LiteralString] = f"""
UPDATE syncs s
SET lease_until = NULL, unfinished_claims = 0, next_attempt_at = {_NOW} + make_interval(secs => %(delay)s)
WHERE {_MINE}
RETURNING s.state
"""

# Writes what came of a step that follows a ticket: the link back to the thread, and the audit.
FOLLOW_UP: Final[LiteralString] = f"""
WITH moved AS (
    UPDATE syncs s
    SET lease_until = NULL, unfinished_claims = 0, failures = %(failures)s,
        linked_back_at = CASE WHEN %(step)s = 'link_back' AND %(is_over)s THEN {_NOW}
                              ELSE s.linked_back_at END,
        audited_at = CASE WHEN %(step)s = 'audit' AND %(is_over)s THEN {_NOW} ELSE s.audited_at END,
        duplicates = coalesce(%(duplicates)s::text[], s.duplicates),
        next_attempt_at = {_NOW} + make_interval(secs => %(delay)s::float8),
        announce_at = CASE WHEN cardinality(%(duplicates)s::text[]) > 0 THEN {_NOW} ELSE s.announce_at END
    WHERE {_MINE}
    RETURNING s.session_id, s.fence, s.state
), noted AS (
    INSERT INTO sync_attempts
        (session_id, number, step, fence, started_at, finished_at, outcome, http_status, trace_id, reason,
         detail)
    SELECT m.session_id,
           1 + coalesce((SELECT max(number) FROM sync_attempts a WHERE a.session_id = m.session_id), 0),
           %(step)s, m.fence, coalesce(%(started_at)s::timestamptz, {_NOW}), {_NOW}, %(outcome)s,
           %(http_status)s, %(trace_id)s, %(reason)s, %(detail)s
    FROM moved m
)
SELECT state FROM moved
"""

# What stands in the way of a site: a row of its own, and one for each endpoint that is paused.
GET_SITE: Final[LiteralString] = f"""
SELECT NULL AS endpoint, trouble,
       greatest(0, extract(epoch FROM {_PAUSED_UNTIL} - {_NOW}))::float8 AS paused_for
FROM jira_sites WHERE site = %(site)s
UNION ALL
SELECT endpoint, NULL, extract(epoch FROM paused_until - {_NOW})::float8
FROM jira_pauses WHERE site = %(site)s AND paused_until > {_NOW} AND {_PAUSED_UNTIL} IS NOT NULL
"""

# Nothing is sent to the site for so long.
PAUSE_SITE: Final[LiteralString] = f"""
INSERT INTO jira_sites AS j (site, paused_until)
VALUES (%(site)s, {_NOW} + make_interval(secs => %(seconds)s))
ON CONFLICT ON CONSTRAINT jira_sites_pkey
DO UPDATE SET paused_until = greatest(
    CASE WHEN j.paused_until <= {_NOW} + interval '2 hours' THEN j.paused_until END, excluded.paused_until
)
RETURNING site
"""

# The same for one endpoint of it.
PAUSE_ENDPOINT: Final[LiteralString] = f"""
INSERT INTO jira_pauses AS j (site, endpoint, paused_until)
VALUES (%(site)s, %(endpoint)s, {_NOW} + make_interval(secs => %(seconds)s))
ON CONFLICT ON CONSTRAINT jira_pauses_pkey
DO UPDATE SET paused_until = greatest(
    CASE WHEN j.paused_until <= {_NOW} + interval '2 hours' THEN j.paused_until END, excluded.paused_until
)
RETURNING site
"""

# The site says no to us: parks all that waits for it.
OPEN_BREAKER: Final[LiteralString] = f"""
WITH opened AS (
    INSERT INTO jira_sites AS j (site, trouble, trouble_since, next_probe_at)
    VALUES (%(site)s, %(trouble)s, {_NOW}, {_NOW} + make_interval(secs => %(probe_after)s))
    ON CONFLICT ON CONSTRAINT jira_sites_pkey DO UPDATE
    SET trouble = excluded.trouble, trouble_since = coalesce(j.trouble_since, excluded.trouble_since),
        next_probe_at = excluded.next_probe_at
    RETURNING site
), waiting AS (
    SELECT s.session_id FROM syncs s, opened
    WHERE s.state IN ('pending', 'retry_wait') AND (s.site = opened.site OR s.site IS NULL) AND {_IS_FREE}
    ORDER BY s.session_id FOR UPDATE OF s
)
UPDATE syncs s
SET state = 'blocked', parked = true, reason = %(trouble)s, site = %(site)s, next_attempt_at = NULL,
    queued_until = NULL, announce_at = {_NOW}, updated_at = {_NOW}
FROM waiting WHERE s.session_id = waiting.session_id
RETURNING s.session_id
"""

# Whether it is our turn to ask the site whether it knows us again.
TAKE_PROBE: Final[LiteralString] = f"""
UPDATE jira_sites SET next_probe_at = {_NOW} + make_interval(secs => %(probe_after)s)
WHERE site = %(site)s AND next_probe_at <= {_NOW}
RETURNING site
"""

# The site takes our calls again: what was parked goes on.
CLOSE_BREAKER: Final[LiteralString] = f"""
WITH closed AS (
    UPDATE jira_sites SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL
    WHERE site = %(site)s AND trouble IS NOT NULL
), parked AS (
    SELECT s.session_id FROM syncs s
    WHERE s.state = 'blocked' AND s.parked AND (s.site = %(site)s OR s.site IS NULL)
    ORDER BY s.session_id FOR UPDATE
)
UPDATE syncs s
SET {_GO_ON}
FROM parked WHERE s.session_id = parked.session_id
RETURNING s.session_id
"""

# This worker knows no Jira: what is due waits for one that does.
PARK_UNCONFIGURED: Final[LiteralString] = f"""
UPDATE syncs s
SET state = 'blocked', parked = true, reason = 'not_configured', next_attempt_at = NULL, queued_until = NULL,
    announce_at = {_NOW}, updated_at = {_NOW}
WHERE s.session_id = %(session_id)s AND s.state IN ('pending', 'retry_wait') AND {_IS_FREE}
RETURNING s.session_id
"""

# Syncs that wait until the worker is given a Jira, or for one that the settings name no more; that one is no
# trouble any longer.
UNPARK: Final[LiteralString] = f"""
WITH left_behind AS (
    UPDATE jira_sites SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL
    WHERE trouble IS NOT NULL AND site <> %(site)s
), parked AS (
    SELECT s.session_id FROM syncs s
    WHERE s.state = 'blocked' AND s.parked AND (s.reason = 'not_configured' OR s.site <> %(site)s)
    ORDER BY s.session_id FOR UPDATE SKIP LOCKED
)
UPDATE syncs s
SET {_GO_ON}
FROM parked WHERE s.session_id = parked.session_id
RETURNING s.session_id
"""

# Makes due what waits for a moment that makes no sense, such as one of the year 2093 that a Jira asked for.
PULL_IN: Final[LiteralString] = f"""
UPDATE syncs s SET next_attempt_at = {_NOW}, queued_until = NULL, lease_until = NULL
WHERE s.next_attempt_at > {_TOO_FAR}
RETURNING s.session_id
"""

# Due syncs that no message is on its way for, also when the broker lost it. Never more of them in the broker
# than `most`: who works slowly would find the same ones again and again.
TAKE_DUE: Final[LiteralString] = f"""
WITH due AS (
    SELECT s.session_id FROM syncs s
    WHERE s.next_attempt_at <= {_NOW} AND (s.queued_until IS NULL OR s.queued_until <= {_NOW}) AND {_IS_FREE}
      AND NOT EXISTS (
          SELECT FROM jira_sites j
          WHERE j.site = s.site AND (j.trouble IS NOT NULL OR {_PAUSED_UNTIL} > {_NOW})
      )
    ORDER BY s.next_attempt_at
    LIMIT greatest(0, %(most)s - (SELECT count(*) FROM syncs q WHERE q.queued_until > {_NOW}))
    FOR UPDATE SKIP LOCKED
)
UPDATE syncs s SET queued_until = {_NOW} + make_interval(secs => %(for_seconds)s)
-- An array, because Postgres takes a join of unknown size for a large one, and would read the whole table.
WHERE s.session_id = ANY (ARRAY(SELECT session_id FROM due))
RETURNING s.session_id
"""

# A person wants it tried again, which is no wish for another ticket than the one that was taken off. No row:
# there is no such sync, or nothing to try, or a step is under way.
_RETRY: Final[LiteralString] = f"""
WITH retried AS (
    UPDATE syncs s
    SET {_GO_ON}
    WHERE s.session_id = %(session_id)s AND {_IS_FREE}
      AND s.state IN ('retry_wait', 'unknown', 'blocked', 'failed', 'review')
      AND (s.reason IS NULL OR s.reason NOT IN ('moved', 'forgotten', 'draft_expired'))
      AND s.forgetting IS DISTINCT FROM 'tombstone'
      AND ({_IN_DOUBT} OR NOT EXISTS (
          SELECT FROM thread_sessions t WHERE t.id = s.session_id AND s.drafted_at <= t.unlinked_at
      ))"""
RETRY: Final[LiteralString] = f"""{_RETRY}
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {_NOW}, 'retry', %(actor)s, %(reason)s, {_BY} FROM retried
)
SELECT session_id FROM retried
"""

# The same for a command with an id, once: one that comes again undoes no decision that was made since.
RETRY_ONCE: Final[LiteralString] = f"""{_RETRY}
      AND NOT EXISTS (
          SELECT FROM sync_actions a
          WHERE a.session_id = s.session_id AND a.command_id = %(command_id)s::uuid
      )
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by, command_id)
    SELECT session_id, {_NOW}, 'retry', %(actor)s, %(reason)s, {_BY}, %(command_id)s::uuid FROM retried
)
SELECT session_id FROM retried
"""

# The same for all that is blocked, on every site; neither probes nor pauses are waited for.
RETRY_ALL_BLOCKED: Final[LiteralString] = f"""
WITH closed AS (
    UPDATE jira_sites SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL, paused_until = NULL
    WHERE trouble IS NOT NULL OR paused_until > {_NOW}
), resumed AS (
    UPDATE jira_pauses SET paused_until = {_NOW} WHERE paused_until > {_NOW}
), blocked AS (
    SELECT s.session_id FROM syncs s WHERE s.state = 'blocked' ORDER BY s.session_id FOR UPDATE
), retried AS (
    UPDATE syncs s
    SET {_GO_ON}
    FROM blocked WHERE s.session_id = blocked.session_id
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {_NOW}, 'retry', %(actor)s, %(reason)s, {_BY} FROM retried
)
SELECT session_id FROM retried
"""

# Nobody wants it any more. Whatever may have been created stays, and a later retry looks for it first. No
# row: there is no such sync, or it is over, or a create is in flight.
GIVE_UP: Final[LiteralString] = f"""
WITH given_up AS (
    UPDATE syncs s
    SET state = 'failed', reason = 'given_up', detail = NULL, parked = false, next_attempt_at = NULL,
        queued_until = NULL, lease_until = NULL, fence = s.fence + 1, announce_at = {_NOW},
        updated_at = {_NOW}
    WHERE s.session_id = %(session_id)s
      AND s.state IN ('pending', 'retry_wait', 'unknown', 'blocked', 'failed', 'review')
      AND NOT EXISTS (SELECT FROM thread_sessions t WHERE t.id = s.session_id AND t.forgotten_at IS NOT NULL)
    RETURNING s.session_id
), noted AS (
    INSERT INTO sync_actions (session_id, at, action, actor, reason, acted_by)
    SELECT session_id, {_NOW}, 'give_up', %(actor)s, %(reason)s, {_BY} FROM given_up
)
SELECT session_id FROM given_up
"""

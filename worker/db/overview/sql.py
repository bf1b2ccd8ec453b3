"""SQL of what operators look at: searches, decisions, counts and charts. It reads along indexes alone."""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.session_parts import SESSION

_SPAN: Final = """
WITH span AS (
    SELECT make_interval(secs => %(bucket)s) AS bucket, now() - make_interval(secs => %(seconds)s) AS since,
           now() + make_interval(secs => %(bucket)s) AS until
)"""

# Sessions of one ticket. More than one only if people named the same ticket for two threads.
FIND_BY_KEY: Final[LiteralString] = f"""
SELECT {SESSION} FROM thread_sessions WHERE jira_key = %(jira_key)s ORDER BY id DESC LIMIT %(limit)s
"""

# When a session was moved on.
STEPS: Final[LiteralString] = "SELECT ready_at, synced_at FROM thread_sessions WHERE id = %(session_id)s"

# The actors of a session's steps, and of its last draft.
ACTORS: Final[LiteralString] = """
SELECT t.opened_by, t.ready_by, t.synced_by, s.drafted_by
FROM thread_sessions t LEFT JOIN syncs s ON s.session_id = t.id WHERE t.id = %(session_id)s
"""

# A page of what people decided about sessions, dead letters, the installation, channels and what is
# forgotten, newest first, from before a moment and an id.
LIST_DECISIONS: Final[LiteralString] = """
SELECT *, at::text AS place FROM (
    (
        SELECT a.id, a.at, a.action, a.actor, a.reason, a.session_id, t.channel_id, t.thread_ts,
               NULL::uuid AS dead_letter_id, NULL AS task_name, a.acted_by, NULL AS jira_key,
               a.via, a.login
        FROM sync_actions a JOIN thread_sessions t ON t.id = a.session_id
        WHERE (a.at, a.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY a.at DESC, a.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT a.id, a.at, a.action, a.actor, a.reason, a.session_id, t.channel_id, t.thread_ts, NULL, NULL,
               NULL, NULL, a.via, a.login
        FROM session_actions a JOIN thread_sessions t ON t.id = a.session_id
        WHERE (a.at, a.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY a.at DESC, a.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT a.id, a.at, a.act, coalesce(a.actor ->> 'user_id', a.actor ->> 'name', ''),
               coalesce(a.reason, ''), a.session_id, t.channel_id, t.thread_ts, NULL, NULL, a.actor,
               a.jira_key, a.via, a.login
        FROM session_acts a JOIN thread_sessions t ON t.id = a.session_id
        WHERE (a.at, a.id) < (%(at)s::timestamptz, %(id)s::uuid) AND a.outcome IN ('applied', 'unchanged')
        ORDER BY a.at DESC, a.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT d.id, d.settled_at, CASE d.state WHEN 'retried' THEN 'replay' ELSE 'discard' END, d.actor,
               d.reason, NULL, NULL, NULL, d.id, d.task_name, d.settled_by, NULL,
               d.settled_via, d.settled_login
        FROM dead_letters d
        WHERE d.state <> 'dead' AND (d.settled_at, d.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY d.settled_at DESC, d.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT i.id, i.at, i.action, i.actor, i.reason, NULL, NULL, NULL, NULL, 'installation',
               i.acted_by, NULL, i.via, i.login
        FROM installation_actions i
        WHERE (i.at, i.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY i.at DESC, i.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT f.id, f.at, 'forget_' || f.what, f.actor, f.reason, NULL, NULL, NULL, NULL,
               coalesce(f.subject, 'a person'), f.acted_by, NULL, f.via, f.login
        FROM forget_acts f
        WHERE (f.at, f.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY f.at DESC, f.id DESC LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT c.id, c.at, c.act || '_channel',
               coalesce(c.actor ->> 'user_id', c.actor ->> 'name', ''), coalesce(c.reason, ''), NULL,
               c.channel_id, NULL, NULL,
               concat_ws(
                   ': ', c.channel_id,
                   coalesce('to ' || c.moved_to, nullif(array_to_string(c.settings, ', '), ''))
               ),
               c.actor, NULL, c.via, c.login
        FROM channel_acts c
        WHERE (c.at, c.id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY c.at DESC, c.id DESC LIMIT %(limit)s
    )
) AS decision
ORDER BY at DESC, id DESC LIMIT %(limit)s
"""

# How many sessions took each step, by stretches of time. What claims to be of a day to come is left out: of
# such a moment there may be no stretch.
COUNT_STEPS: Final[LiteralString] = f"""
{_SPAN}
SELECT date_bin(bucket, at, '2000-01-01 00:00:00+00') AS at, what, count(*) AS value
FROM span, LATERAL (
    SELECT created_at AS at, 'opened' AS what FROM thread_sessions
    WHERE created_at > since AND created_at < until
    UNION ALL
    SELECT ready_at, 'ready' FROM thread_sessions WHERE ready_at > since AND ready_at < until
    UNION ALL
    SELECT synced_at, 'synced' FROM thread_sessions WHERE synced_at > since AND synced_at < until
) AS step
GROUP BY 1, 2
"""

# Attempts of syncs by outcome, by stretches of time. Attempts in progress have no outcome yet.
COUNT_ATTEMPTS: Final[LiteralString] = f"""
{_SPAN}
SELECT date_bin(bucket, a.started_at, '2000-01-01 00:00:00+00') AS at,
       CASE WHEN a.outcome = 'created' THEN 'created'
            WHEN a.outcome = 'found' THEN 'found'
            WHEN a.outcome IN ('rejected', 'auth') THEN 'refused'
            ELSE 'no answer, or later' END AS what,
       count(*) AS value
FROM span, sync_attempts a
WHERE a.started_at > since AND a.started_at < until AND a.step IN ('search', 'create', 'look')
  AND a.outcome IS NOT NULL AND a.outcome <> 'absent'
GROUP BY 1, 2
"""

# The longest that a message had waited in each queue, by stretches of time.
LONGEST_WAITS: Final[LiteralString] = f"""
{_SPAN}
SELECT date_bin(bucket, sampled_at, '2000-01-01 00:00:00+00') AS at, queue AS what,
       max(coalesce(oldest_seconds, 0)) AS value
FROM span, queue_samples
WHERE queue = ANY(%(queues)s::text[]) AND sampled_at > since AND sampled_at < until
GROUP BY 1, 2
"""

# Keeps what waits in each queue now, and deletes what is too old to be shown.
KEEP_SAMPLES: Final[LiteralString] = """
WITH too_old AS (
    DELETE FROM queue_samples
    WHERE queue = ANY(%(queues)s::text[]) AND sampled_at < now() - make_interval(days => %(kept_days)s)
)
INSERT INTO queue_samples (queue, waiting, oldest_seconds)
SELECT * FROM unnest(%(queues)s::text[], %(waiting)s::integer[], %(oldest_seconds)s::double precision[])
ON CONFLICT ON CONSTRAINT queue_samples_pkey DO NOTHING
"""

# How many sessions, syncs and dead letters there are in each state, and what stands still.
COUNTS: Final[LiteralString] = """
SELECT 'session' AS what, status AS name, count(*)::double precision AS value
FROM thread_sessions GROUP BY status
UNION ALL
SELECT 'sync', state, count(*) FROM syncs GROUP BY state
UNION ALL
SELECT 'dead_letter', state, count(*) FROM dead_letters GROUP BY state
UNION ALL
SELECT 'site_in_trouble', '', count(*) FROM jira_sites WHERE trouble IS NOT NULL
UNION ALL
SELECT 'slack_in_trouble', '', count(*) FROM slack_installation WHERE trouble IS NOT NULL
UNION ALL
SELECT 'unsaid', '', count(*) FROM syncs WHERE announce_at <= now()
UNION ALL
SELECT 'refused', '', count(*) FROM status_messages WHERE trouble IS NOT NULL
UNION ALL
SELECT 'oldest_due', '', coalesce(extract(epoch FROM now() - min(next_attempt_at)), 0)::double precision
FROM syncs WHERE next_attempt_at <= now()
"""

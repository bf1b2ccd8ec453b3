"""SQL of Jira sites: pauses, and the syncs that are parked while a site refuses all calls."""
# ruff: noqa: S608 - the only f-strings here insert the fragments above; values are always parameters

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.parts import GO_ON, IS_FREE, NOW, PAUSED_UNTIL

# Trouble of a site: a row of its own, and one for each endpoint that is paused.
GET_SITE: Final[LiteralString] = f"""
SELECT NULL AS endpoint, trouble, probe_session_id,
       greatest(0, extract(epoch FROM {PAUSED_UNTIL} - {NOW}))::float8 AS paused_for
FROM jira_sites WHERE site = %(site)s
UNION ALL
SELECT endpoint, NULL, NULL, extract(epoch FROM paused_until - {NOW})::float8
FROM jira_pauses WHERE site = %(site)s AND paused_until > {NOW} AND {PAUSED_UNTIL} IS NOT NULL
"""

# Nothing is sent to the site for so long.
PAUSE_SITE: Final[LiteralString] = f"""
INSERT INTO jira_sites AS j (site, paused_until)
VALUES (%(site)s, {NOW} + make_interval(secs => %(seconds)s))
ON CONFLICT ON CONSTRAINT jira_sites_pkey
DO UPDATE SET paused_until = greatest(
    CASE WHEN j.paused_until <= {NOW} + interval '2 hours' THEN j.paused_until END, excluded.paused_until
)
RETURNING site
"""

# The same for one endpoint of it.
PAUSE_ENDPOINT: Final[LiteralString] = f"""
INSERT INTO jira_pauses AS j (site, endpoint, paused_until)
VALUES (%(site)s, %(endpoint)s, {NOW} + make_interval(secs => %(seconds)s))
ON CONFLICT ON CONSTRAINT jira_pauses_pkey
DO UPDATE SET paused_until = greatest(
    CASE WHEN j.paused_until <= {NOW} + interval '2 hours' THEN j.paused_until END, excluded.paused_until
)
RETURNING site
"""

# The site refuses all calls: parks the syncs that wait for it. Where a sync is to probe it, that is the one
# which met the refusal.
OPEN_BREAKER: Final[LiteralString] = f"""
WITH opened AS (
    INSERT INTO jira_sites AS j (site, trouble, trouble_since, next_probe_at, probe_session_id)
    VALUES (
        %(site)s, %(trouble)s, {NOW}, {NOW} + make_interval(secs => %(probe_after)s),
        %(probe_session_id)s::uuid
    )
    ON CONFLICT ON CONSTRAINT jira_sites_pkey DO UPDATE
    SET trouble = excluded.trouble, trouble_since = coalesce(j.trouble_since, excluded.trouble_since),
        next_probe_at = excluded.next_probe_at, probe_session_id = excluded.probe_session_id
    RETURNING site
), waiting AS (
    SELECT s.session_id FROM syncs s, opened
    WHERE s.state IN ('pending', 'retry_wait') AND (s.site = opened.site OR s.site IS NULL) AND {IS_FREE}
    ORDER BY s.session_id FOR UPDATE OF s
)
UPDATE syncs s
SET state = 'blocked', parked = true, reason = %(trouble)s, site = %(site)s, next_attempt_at = NULL,
    queued_until = NULL, announce_at = {NOW}, updated_at = {NOW}
FROM waiting WHERE s.session_id = waiting.session_id
RETURNING s.session_id
"""

# Takes the probe of a site. No row: it is not due, or another process has it.
TAKE_PROBE: Final[LiteralString] = f"""
UPDATE jira_sites SET next_probe_at = {NOW} + make_interval(secs => %(probe_after)s)
WHERE site = %(site)s AND next_probe_at <= {NOW}
RETURNING trouble
"""

# Chooses the sync that probes a site and makes it due: the one that met the trouble, if it still waits, else
# the oldest. No row: none waits.
PROBE_BY_A_SYNC: Final[LiteralString] = f"""
WITH troubled AS (
    -- Locked before its syncs, as where it is opened and closed.
    SELECT site, probe_session_id FROM jira_sites WHERE site = %(site)s AND trouble IS NOT NULL FOR UPDATE
), chosen AS (
    SELECT s.session_id, s.state FROM syncs s JOIN troubled j ON j.site = s.site
    WHERE s.state IN ('blocked', 'unknown') AND (s.parked OR s.state = 'unknown') AND {IS_FREE}
    ORDER BY s.session_id IS DISTINCT FROM j.probe_session_id, s.state, s.session_id
    LIMIT 1 FOR UPDATE OF s SKIP LOCKED
), named AS (
    UPDATE jira_sites j
    SET probe_session_id = chosen.session_id, next_probe_at = {NOW} + make_interval(secs => %(again_after)s)
    FROM chosen WHERE j.site = %(site)s
), looks AS (
    UPDATE syncs s SET next_attempt_at = {NOW}, queued_until = NULL
    FROM chosen WHERE s.session_id = chosen.session_id AND chosen.state = 'unknown'
    RETURNING s.session_id
), resumed AS (
    UPDATE syncs s
    SET {GO_ON}
    FROM chosen WHERE s.session_id = chosen.session_id AND chosen.state = 'blocked'
    RETURNING s.session_id
)
SELECT session_id FROM looks UNION ALL SELECT session_id FROM resumed
"""

# The site accepts calls again: resumes the parked syncs.
CLOSE_BREAKER: Final[LiteralString] = f"""
WITH closed AS (
    UPDATE jira_sites
    SET trouble = NULL, trouble_since = NULL, next_probe_at = NULL, probe_session_id = NULL
    WHERE site = %(site)s AND trouble IS NOT NULL
), parked AS (
    SELECT s.session_id FROM syncs s
    WHERE s.state = 'blocked' AND s.parked AND (s.site = %(site)s OR s.site IS NULL)
    ORDER BY s.session_id FOR UPDATE
)
UPDATE syncs s
SET {GO_ON}
FROM parked WHERE s.session_id = parked.session_id
RETURNING s.session_id
"""

# This worker knows no Jira: what is due waits for one that does.
PARK_UNCONFIGURED: Final[LiteralString] = f"""
UPDATE syncs s
SET state = 'blocked', parked = true, reason = 'not_configured', next_attempt_at = NULL, queued_until = NULL,
    announce_at = {NOW}, updated_at = {NOW}
WHERE s.session_id = %(session_id)s AND s.state IN ('pending', 'retry_wait') AND {IS_FREE}
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
SET {GO_ON}
FROM parked WHERE s.session_id = parked.session_id
RETURNING s.session_id
"""

"""SQL of the projects in which naming the requester as the reporter of a ticket did not work."""

from __future__ import annotations

from typing import Final, LiteralString

_NOW: Final = "coalesce(%(now)s::timestamptz, now())"
_HIDDEN: Final = (
    "site = %(site)s AND project_key = %(project_key)s AND problem = 'hidden' AND over_at IS NULL"
)

# Notes a problem, or that it is still there.
NOTE: Final[LiteralString] = f"""
INSERT INTO jira_reporters AS r (site, project_key, problem, jira_id, noted_at, looked_at)
VALUES (%(site)s, %(project_key)s, %(problem)s, %(jira_id)s, {_NOW}, {_NOW})
ON CONFLICT ON CONSTRAINT jira_reporters_pkey DO UPDATE
SET jira_id = excluded.jira_id, noted_at = excluded.noted_at, looked_at = excluded.looked_at, over_at = NULL
RETURNING r.problem
"""

# The hidden ticket of a project whose tickets go without a reporter. No row: they name it.
HIDDEN: Final[LiteralString] = f"SELECT jira_id FROM jira_reporters WHERE {_HIDDEN}"

# Takes the hidden ticket, to look at it again. No row: it was looked at a short time ago.
TAKE_LOOK: Final[LiteralString] = f"""
UPDATE jira_reporters SET looked_at = {_NOW}
WHERE {_HIDDEN} AND looked_at <= {_NOW} - make_interval(secs => %(again_after)s)
RETURNING jira_id
"""

# Our account sees the ticket by now.
END_HIDDEN: Final[LiteralString] = f"UPDATE jira_reporters SET over_at = {_NOW} WHERE {_HIDDEN}"

# What the doctor tells of a site: what is not over, without refusals of long ago.
OPEN_PROBLEMS: Final[LiteralString] = f"""
SELECT project_key, problem, jira_id, noted_at FROM jira_reporters
WHERE site = %(site)s AND over_at IS NULL
  AND (problem = 'hidden' OR noted_at > {_NOW} - interval '30 days')
ORDER BY project_key, problem
LIMIT 100
"""

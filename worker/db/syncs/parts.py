"""Parts of the statements on syncs. The rows are called ``s``."""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.progress import STARTS

# The database's clock, unless a test has one of its own.
NOW: Final = "coalesce(%(now)s::timestamptz, now())"
IS_FREE: Final = f"(s.lease_until IS NULL OR s.lease_until <= {NOW})"
# No pause that is granted is longer than an hour and a fifth (`LONGEST_ASKED_SECONDS`): what ends later was
# written by something that knew no limit, and counts as none.
PAUSED_UNTIL: Final = f"CASE WHEN paused_until <= {NOW} + interval '2 hours' THEN paused_until END"
# There is a create whose end is not known.
IN_DOUBT: Final = """EXISTS (
    SELECT FROM sync_attempts d
    WHERE d.session_id = s.session_id AND d.step = 'create' AND (d.outcome IS NULL OR d.outcome = 'unknown')
)"""


def _restarted(now: LiteralString) -> tuple[tuple[LiteralString, LiteralString], ...]:
    """Return columns and values of a sync that begins again. A ticket that may exist is looked for first.

    One list for a retry, a newer draft and a site that is back, because what one of these ways forgot to
    reset (the looks of an earlier doubt, say) another one did.
    """
    return (
        ("state", f"CASE WHEN {IN_DOUBT} THEN 'unknown' ELSE 'pending' END"),
        ("reason", f"CASE WHEN {IN_DOUBT} THEN 'no_answer' END"),
        ("detail", "NULL"),
        ("parked", "false"),
        *STARTS,
        ("unfinished_claims", "0"),
        ("next_attempt_at", now),
        ("queued_until", "NULL"),
        ("announce_at", now),
        ("fence", "s.fence + 1"),
    )


def restarted_if(condition: LiteralString, now: LiteralString) -> LiteralString:
    """Return assignments that leave each column as it was unless the condition is true."""
    return ",\n        ".join(
        f"{column} = CASE WHEN {condition} THEN {value} ELSE s.{column} END"
        for column, value in _restarted(now)
    )


_RESTARTED: Final = ",\n    ".join(f"{column} = {value}" for column, value in _restarted(NOW))
# Goes on where it stopped.
GO_ON: Final = f"{_RESTARTED}, updated_at = {NOW}"

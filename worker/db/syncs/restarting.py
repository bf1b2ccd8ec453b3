"""Columns of a sync that begins again: after a retry, a newer draft, a site that is back.

One list, because what one of these ways forgot to reset (the looks of an earlier doubt, say) another one did.
"""

from __future__ import annotations

from typing import Final, LiteralString

from worker.db.syncs.progress import STARTS

# There is a create whose end is not known.
IN_DOUBT: Final = """EXISTS (
    SELECT FROM sync_attempts d
    WHERE d.session_id = s.session_id AND d.step = 'create' AND (d.outcome IS NULL OR d.outcome = 'unknown')
)"""


def _restarted(now: LiteralString) -> tuple[tuple[LiteralString, LiteralString], ...]:
    """Return columns and values. A ticket that may exist is looked for, not created again."""
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


def restarted(now: LiteralString) -> LiteralString:
    """Return the assignments of an UPDATE of ``syncs s``."""
    return ",\n    ".join(f"{column} = {value}" for column, value in _restarted(now))


def restarted_if(condition: LiteralString, now: LiteralString) -> LiteralString:
    """Return assignments that leave each column as it was unless the condition is true."""
    return ",\n        ".join(
        f"{column} = CASE WHEN {condition} THEN {value} ELSE s.{column} END"
        for column, value in _restarted(now)
    )

"""Parts of the statements on syncs. The rows are called ``s``."""

from __future__ import annotations

from typing import Final

from worker.db.syncs.restarting import restarted

# The database's clock, unless a test has one of its own.
NOW: Final = "coalesce(%(now)s::timestamptz, now())"
IS_FREE: Final = f"(s.lease_until IS NULL OR s.lease_until <= {NOW})"
# Goes on where it stopped.
GO_ON: Final = f"{restarted(NOW)}, updated_at = {NOW}"
# No pause that is granted is longer than an hour and a fifth (`LONGEST_ASKED_SECONDS`): what ends later was
# written by something that knew no limit, and counts as none.
PAUSED_UNTIL: Final = f"CASE WHEN paused_until <= {NOW} + interval '2 hours' THEN paused_until END"

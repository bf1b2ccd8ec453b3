"""How much there is of what, for whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

from threadsync.dead_letters import DeadLetterState
from threadsync.syncs import SyncStatus
from threadsync.types import Status
from worker.db.driver_errors import translated
from worker.db.pool import Pool, init_db
from worker.db.sessions import sql as queries

OTHER: Final = "other"


@dataclass(frozen=True)
class Counts:
    """Every status and state is there, also those that nothing is in.

    What stands in one that only another release knows is counted under ``other``, if there is any.

    Attributes:
        sites_in_trouble: Jira sites that refuse us, so that their syncs are parked.
        slack_in_trouble: 1 while Slack refuses our token, so that messages are parked.
        unsaid: status messages in Slack that are out of date.
        refused: those that Slack refuses for a reason of their own, such as an archived channel.
        oldest_due_seconds: for how long the sync has been due that has been so for the longest time; 0 when
            none is.
    """

    sessions: Mapping[str, int]
    syncs: Mapping[str, int]
    dead_letters: Mapping[str, int]
    sites_in_trouble: int
    slack_in_trouble: int
    unsaid: int
    refused: int
    oldest_due_seconds: float


class CountStore:
    """Every method raises ``DatabaseUnavailable`` when Postgres is away."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    def counts(self) -> Counts:
        """All of them, in one statement. It reads indexes; a million sessions take a tenth of a second."""
        with translated(), (self._pool or init_db()).connection() as connection:
            rows = connection.execute(queries.COUNTS).fetchall()
        found: dict[str, dict[str, float]] = {}
        for row in rows:
            found.setdefault(row["what"], {})[row["name"]] = row["value"]

        def counted(what: str, names: tuple[str, ...]) -> dict[str, int]:
            of_what = found.get(what, {})
            known = {name: int(of_what.get(name, 0)) for name in names}
            other = int(sum(of_what.values())) - sum(known.values())
            return {**known, OTHER: other} if other else known

        return Counts(
            sessions=counted("session", get_args(Status)),
            syncs=counted("sync", get_args(SyncStatus)),
            dead_letters=counted("dead_letter", get_args(DeadLetterState)),
            sites_in_trouble=int(found["site_in_trouble"][""]),
            slack_in_trouble=int(found["slack_in_trouble"][""]),
            unsaid=int(found["unsaid"][""]),
            refused=int(found["refused"][""]),
            oldest_due_seconds=found["oldest_due"][""],
        )

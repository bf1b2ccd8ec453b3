"""Progress of a sync: the numbers that decide what it does next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString


@dataclass(frozen=True, slots=True)
class Progress:
    """Failures in a row, and looks for a ticket that was maybe created.

    After a re-create ``failing_since`` is the deadline of the first create, until something else fails.
    """

    failures: int = 0
    failing_since: datetime | None = None
    looks: int = 0
    absences: int = 0
    recreates: int = 0


FRESH: Final = Progress()

STARTS: Final[tuple[tuple[LiteralString, LiteralString], ...]] = (
    ("failures", "0"),
    ("failing_since", "NULL"),
    ("looks", "0"),
    ("absences", "0"),
    ("recreates", "0"),
)
"""Column of each of them, and its value when a sync begins again."""

COLUMNS: Final[LiteralString] = ", ".join(f"c.{column}" for column, _ in STARTS)
ASSIGNMENTS: Final[LiteralString] = ", ".join(f"{column} = %({column})s" for column, _ in STARTS)

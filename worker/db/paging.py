"""Positions in a list of rows, newest first or last changed first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from threadsync.errors import InvalidCommand

AFTER_ALL_IDS: Final = UUID(int=2**128 - 1)
"""The place of the first page: lists run from the newest id down."""

_MOMENT: Final = re.compile(
    r"-?infinity|[0-9]{4,6}-[0-9]{2}-[0-9]{2}(T[0-9:.]{1,20}([+-][0-9:]{1,8}|Z)?)?( BC)?"
)


def parse_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for. Raises ``InvalidCommand``."""
    try:
        return UUID(cursor)
    except ValueError:
        raise InvalidCommand("cursor: is not one that this method returned") from None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a row in a list by moment and id. ``at`` is as Postgres writes it, or has a ``T`` inside.

    Postgres has years that Python has not, so no ``datetime`` stands for the moment.
    """

    at: str
    id: UUID

    def __str__(self) -> str:
        """Return the cursor of the page that begins behind the row."""
        return f"{self.at.replace(' ', 'T', 1)}_{self.id}"

    @classmethod
    def of(cls, cursor: str | None) -> Self:
        """Read a cursor; without one, the place before all rows. Raises ``InvalidCommand``."""
        if not cursor:
            return cls("infinity", AFTER_ALL_IDS)
        at, _, row_id = cursor.partition("_")
        try:
            place = cls(at, UUID(row_id)) if _MOMENT.fullmatch(at) else None
        except ValueError:
            place = None
        if place is None:
            raise InvalidCommand(
                f"{cursor[:60]!r} is no place in this list; a link from before an upgrade may have it. "
                "Begin with the first page"
            )
        return place

"""Positions in a list of rows, newest first."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from threadsync.errors import InvalidCommand

AFTER_ALL_IDS: Final = UUID(int=2**128 - 1)
"""The place of the first page: lists run from the newest id down."""


def parse_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for. Raises ``InvalidCommand``."""
    try:
        return UUID(cursor)
    except ValueError:
        raise InvalidCommand("cursor: is not one that this method returned") from None

"""Columns that ``threadsync_read`` may see, for reports and metrics: nothing that people wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.db.forgetting.columns import OF_NOBODY

_NO_WORDS: Final = frozenset(
    {
        *("boolean", "smallint", "integer", "bigint", "numeric", "real", "double precision", "interval"),
        *("date", "timestamp with time zone", "timestamp without time zone", "uuid"),
    }
)
"""Types that hold no text."""

_IDS_OF_PEOPLE: Final[Mapping[str, frozenset[str]]] = {"thread_sessions": frozenset({"user_id"})}
"""Slack's, which no person wrote."""

_FOR_NO_READER: Final = frozenset({"forgotten_people", "console_sessions"})
"""Tables with hashes that could be compared with guesses."""


def may_be_read(table: str, column: str, kind: str) -> bool:
    """Return whether a reader sees the column: one with text only if it is declared to hold no one's words.

    ``kind``: its type, as the server spells it.
    """
    if kind in _NO_WORDS:
        return True
    if table in _FOR_NO_READER:
        return False
    return column in OF_NOBODY.get(table, {}) or column in _IDS_OF_PEOPLE.get(table, ())

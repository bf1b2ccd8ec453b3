"""Read values that Postgres keeps and Python cannot hold: moments out of range, JSON nested thousands deep.

One such value in one row would fail the whole page that it stands on, for psycopg raises. Here a moment past
9999, before the year 1 or at infinity is shown as the end of time, or its beginning, which no reader takes
for an appointment; and JSON that Python's parser refuses is None. What is beside it can be read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.json import set_json_loads

# A day away from what `datetime` can hold, so that any time zone can show them.
END_OF_TIME: Final = datetime(9999, 12, 30, tzinfo=UTC)
BEGINNING_OF_TIME: Final = datetime(1, 1, 2, tzinfo=UTC)

_TYPE: Final = "timestamptz"


class _BoundedText(Loader):
    """psycopg's own loader, with a bound in place of an error."""

    format = pq.Format.TEXT

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        loader = psycopg.adapters.get_loader(oid, self.format)
        assert loader is not None  # noqa: S101 - it has one for each built-in type
        self._loader = loader(oid, context)

    def load(self, data: Buffer) -> Any:
        try:
            return self._loader.load(data)
        except psycopg.DataError:
            return BEGINNING_OF_TIME if self._is_early(bytes(data)) else END_OF_TIME

    def _is_early(self, data: bytes) -> bool:
        return data.startswith(b"-") or data.endswith(b"BC")


class _BoundedBinary(_BoundedText):
    format = pq.Format.BINARY

    def _is_early(self, data: bytes) -> bool:
        # Microseconds from the year 2000 on.
        return int.from_bytes(data, signed=True) < 0


def adapters() -> AdaptersMap:
    """Return our loaders, for the ``context`` of ``connect``."""
    bounded = AdaptersMap(psycopg.adapters)
    bounded.register_loader(_TYPE, _BoundedText)
    bounded.register_loader(_TYPE, _BoundedBinary)
    set_json_loads(_json_or_none, bounded)
    return bounded


def _json_or_none(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    # ValueError: also a number of thousands of digits.
    except (ValueError, RecursionError):
        return None

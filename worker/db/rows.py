"""Rows of a statement that is run many times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import DictRow, RowMaker, dict_row

if TYPE_CHECKING:
    from psycopg._cursor_base import BaseCursor


class SameColumns:
    """psycopg's ``dict_row`` for one cursor, whose results all have the same columns: it looks them up once.

    By itself it does so for each result, which takes as long as the row.
    """

    def __init__(self) -> None:
        self._make: RowMaker[DictRow] | None = None

    def __call__(self, cursor: BaseCursor[Any, Any]) -> RowMaker[DictRow]:
        if self._make is None:
            make = dict_row(cursor)
            if not cursor.description:
                return make
            self._make = make
        return self._make

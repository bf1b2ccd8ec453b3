"""Connections of the console, whose login may change rows only by functions."""

from __future__ import annotations

from typing import Any

from psycopg import Cursor
from psycopg.rows import DictRow

from worker.db.connection import GuardedConnection
from worker.db.console_login.functions import CALLS
from worker.db.pool import Pool


class ConsoleConnection(GuardedConnection):
    """A connection that calls functions in place of statements, so that stores need not know its login."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Cursor[DictRow]:
        call = CALLS.get(query) if isinstance(query, str) else None
        return super().execute(call or query, params, **options)


class ConsolePool(Pool):
    connections = ConsoleConnection

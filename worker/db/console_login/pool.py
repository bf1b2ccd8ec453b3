"""The console's connections: what its login may change only by a function, goes by that function."""

from __future__ import annotations

from typing import Any

from psycopg import Cursor
from psycopg.rows import DictRow

from worker.db.connection import GuardedConnection
from worker.db.console_login.functions import CALLS
from worker.db.pool import Pool


class ConsoleConnection(GuardedConnection):
    """A connection whose stores need not know as whom it is logged in."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Cursor[DictRow]:
        """Run a statement, or the function that takes its place."""
        call = CALLS.get(query) if isinstance(query, str) else None
        return super().execute(call or query, params, **options)


class ConsolePool(Pool):
    """A pool of them."""

    connections = ConsoleConnection

"""The database for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.db.pool import Pool


@contextmanager
def database(connections: int = 1) -> Iterator[Pool]:
    """Open this process's pool of so many connections at most.

    Raises ``DatabaseUnavailable`` with the reason, or ``InvalidSettings``.
    """
    from worker.db.pool import close_db, init_db, single_connection

    # A pool would only report that it got no connection in time.
    with single_connection():
        pass
    try:
        yield init_db(max_size=connections)
    finally:
        close_db()

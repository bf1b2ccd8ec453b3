"""The database layer: SQL, pools, and the stores that run one on the other.

The names are loaded when they are first used: a web process loads ``sessions.statements`` without psycopg.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.db.pool import close_db, get_connection, init_db
    from worker.db.sessions.async_store import AsyncSessionStore
    from worker.db.sessions.store import SessionStore

_HOME = {
    "AsyncSessionStore": "worker.db.sessions.async_store",
    "SessionStore": "worker.db.sessions.store",
    "close_db": "worker.db.pool",
    "get_connection": "worker.db.pool",
    "init_db": "worker.db.pool",
}

__all__ = [
    "AsyncSessionStore",
    "SessionStore",
    "close_db",
    "get_connection",
    "init_db",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

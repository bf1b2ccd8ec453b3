"""The database layer: SQL, pools, and the stores that run one on the other."""

from worker.db.pool import close_db, get_connection, init_db
from worker.db.sessions.async_store import AsyncSessionStore
from worker.db.sessions.store import SessionStore

__all__ = ["AsyncSessionStore", "SessionStore", "close_db", "get_connection", "init_db"]

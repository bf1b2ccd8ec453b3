"""Everything a program needs to send commands to threadsync and to read their results."""

from threadsync.client import AsyncSessionClient, SessionClient
from threadsync.handles import AsyncHandle, Handle

__all__ = ["AsyncHandle", "AsyncSessionClient", "Handle", "SessionClient"]

"""Everything a program needs to send commands to threadsync and to read their results."""

from threadsync.client import AsyncHandle, AsyncSessionClient, Handle, SessionClient

__all__ = ["AsyncHandle", "AsyncSessionClient", "Handle", "SessionClient"]

"""Errors of the processes that ``threadsync up`` runs."""

from __future__ import annotations

from threadsync.errors import PermanentError


class LocalServiceFailed(PermanentError):
    """A local process did not start, or died too often. The message ends with the last lines of its log."""


class DataDirInUse(PermanentError):
    """Another process holds the data directory; the message names its pid."""

"""Errors of the processes that ``threadsync up`` runs."""

from __future__ import annotations

from threadsync.errors import PermanentError


class LocalServiceFailed(PermanentError):
    """Failure of a local process to start or to stay up; the message ends with the last lines of its log."""


class DataDirInUse(PermanentError):
    """Refusal of a data directory that another process holds; the message names its pid."""

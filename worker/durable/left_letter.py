"""Leave the dead letter of a failed command to the main process, which has the message's bytes."""

from __future__ import annotations

import structlog

from threadsync.errors import ThreadsyncError

log = structlog.get_logger("threadsync.tasks")


def leave_letter(error: ThreadsyncError, reason: BaseException) -> None:
    """Mark the error: nothing that is made of the message in a child can be kept."""
    log.info("dead letter is left to the main process", reason=f"{type(reason).__name__}: {reason}")
    error.needs_letter = True  # type: ignore[attr-defined]  # travels with the error


def needs_letter(error: BaseException) -> bool:
    """Return whether the command failed for good, and no dead letter of it could be written in its child."""
    return bool(getattr(error, "needs_letter", False))

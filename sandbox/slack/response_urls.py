"""What is sent to a response URL, and where its answers appear. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

USES: Final = 5
"""Answers that a response URL takes, within half an hour."""

SECONDS: Final = 1_800.0


@dataclass(frozen=True)
class Place:
    """Where the answers of a response URL appear: for one person, in a channel or a thread there.

    ``message_ts`` is the message with the button, which an answer may replace or delete.
    """

    channel: str
    user: str
    thread_ts: str | None = None
    message_ts: str | None = None


@dataclass
class ResponseUrl:
    """An address, given out at ``made`` in seconds. Without a place its answers are only recorded."""

    place: Place | None
    made: float
    uses: int = 0

    def fault(self, now: float) -> str | None:
        """Return Slack's name for the reason why it takes no answer any more; None if it does."""
        if self.place is None:
            return None
        if now - self.made > SECONDS:
            return "expired_url"
        return "used_url" if self.uses >= USES else None


def replaces(answer: dict[str, Any]) -> bool:
    """Return True for an answer that replaces the message with the button."""
    return answer.get("replace_original") in (True, "true")


def deletes(answer: dict[str, Any]) -> bool:
    """Return True for an answer that deletes the message with the button."""
    return answer.get("delete_original") in (True, "true")

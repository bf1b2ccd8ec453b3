"""A status message as Slack takes it, and what its button is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

RETRY_BUTTON: Final = "threadsync_retry"
"""The button's action id; its value is the session's id."""

_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """``text`` is mrkdwn, and what notifications show; ``blocks`` say the same, and have the button.

    ``lasts``: nothing else will be said by itself, so it is worth a message of its own.
    """

    text: str
    blocks: tuple[Mapping[str, Any], ...]
    lasts: bool = True

    @property
    def fingerprint(self) -> str:
        """The same for messages that look the same: 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.text, self.blocks], sort_keys=True).encode()).hexdigest()


def metadata_of(session_id: UUID, event_type: str) -> dict[str, Any]:
    """Metadata by which a message of ours is found again in its thread."""
    return {"event_type": event_type, "event_payload": {"session_id": str(session_id)}}


def escape(text: str) -> str:
    """Text as mrkdwn that shows it as it is: no links, no mentions."""
    return "".join(_ESCAPES.get(character, character) for character in text)

"""Names by which a status message, a reply and their button are recognised in Slack."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

EVENT_TYPE: Final = "threadsync_sync"
"""Type of a status message's metadata."""

RETRY_BUTTON: Final = "threadsync_retry"
"""Action id of the button that tries again; its value is the session's id."""


FIX_BUTTON: Final = "threadsync_fix"
"""Action id of the button that opens the form with the draft; its value is the session's id."""


def metadata_of(session_id: UUID, event_type: str) -> dict[str, Any]:
    """Return the metadata by which a message of ours is found again in its thread."""
    return {"event_type": event_type, "event_payload": {"session_id": str(session_id)}}

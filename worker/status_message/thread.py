"""Post, edit and find the messages of a session's Slack thread."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeGuard
from uuid import UUID

from worker.http_once import Unknown
from worker.status_message.answers import Done, Failure, Refused
from worker.status_message.message import StatusMessage
from worker.status_message.web_api import WebApi
from worker.text.slack_names import EVENT_TYPE, metadata_of

METHODS: Final = ("auth.test", "chat.postMessage", "chat.update", "conversations.replies")
"""All methods that are called; handlers/manifest.yaml has the scopes for them."""

_PAGE: Final = 200
_MOST_PAGES: Final = 5
_CLOCKS_DIFFER_BY: Final = timedelta(hours=1)
_CHANNEL: Final = re.compile(r"[CG][A-Z0-9]{2,63}", re.ASCII)
_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that is there, with this content. ``channel_id`` is the channel's id by now."""

    message_ts: str
    channel_id: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Absence of the message, which is certain."""


class SlackThread:
    """The thread of one session. Each method is one call, or a few to look something up.

    Args:
        replaced_ts: messages up to this one are not ours to edit any more, and are not found.
        event_type: of the message's metadata.
    """

    def __init__(
        self,
        connection: WebApi,
        channel_id: str,
        thread_ts: str,
        session_id: UUID,
        replaced_ts: str | None = None,
        event_type: str = EVENT_TYPE,
    ) -> None:
        self._connection = connection
        self._channel_id = channel_id
        self._thread_ts = thread_ts
        self._session_id = session_id
        self._replaced_ts = replaced_ts
        self._event_type = event_type

    def post(self, message: StatusMessage) -> Shown | Failure:
        """Post a message, once. ``Unknown`` may have posted it."""
        content = self._content(message)
        answer = self._connection.call(
            "chat.postMessage", thread_ts=self._thread_ts, unfurl_links=False, unfurl_media=False, **content
        )
        return _shown(answer)

    def edit(self, message: StatusMessage, message_ts: str) -> Shown | Failure:
        """Give the message this content. May be repeated."""
        return _shown(self._connection.call("chat.update", ts=message_ts, **self._content(message)))

    def find(self, since: datetime) -> Shown | Absent | Failure:
        """Find our message by its metadata, if it was posted after about ``since``."""
        oldest = f"{(since - _CLOCKS_DIFFER_BY).timestamp():.6f}"
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            answer = self._connection.call(
                "conversations.replies",
                channel=self._channel_id,
                ts=self._thread_ts,
                oldest=oldest,
                limit=_PAGE,
                cursor=cursor,
                include_all_metadata=True,
            )
            if isinstance(answer, Refused) and answer.error == "thread_not_found":
                return Absent()
            if not isinstance(answer, Done):
                return answer
            for message in _objects(answer.body.get("messages")):
                if self._is_ours(message):
                    return Shown(message["ts"])
            cursor = _next_cursor(answer.body)
            if not cursor:
                return Absent()
        return Unknown("the thread is too long to look through")

    def _content(self, message: StatusMessage) -> dict[str, Any]:
        return {
            "channel": self._channel_id,
            "text": message.text,
            "blocks": list(message.blocks),
            "metadata": metadata_of(self._session_id, self._event_type),
        }

    def _is_ours(self, message: dict[str, Any]) -> bool:
        ts = message.get("ts")
        if not _is_ts(ts) or (self._replaced_ts is not None and Decimal(ts) <= Decimal(self._replaced_ts)):
            return False
        metadata = message.get("metadata")
        if not isinstance(metadata, dict) or metadata.get("event_type") != self._event_type:
            return False
        payload = metadata.get("event_payload")
        return isinstance(payload, dict) and payload.get("session_id") == str(self._session_id)


def _shown(answer: Done | Failure) -> Shown | Failure:
    if not isinstance(answer, Done):
        return answer
    message_ts, channel_id = answer.body.get("ts"), answer.body.get("channel")
    if not _is_ts(message_ts):
        return Unknown("an answer without a timestamp")
    is_channel = isinstance(channel_id, str) and _CHANNEL.fullmatch(channel_id) is not None
    return Shown(message_ts, channel_id if is_channel else None)


def _is_ts(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _next_cursor(body: Any) -> str | None:
    """Return the next page's cursor; None on the last page."""
    metadata = body.get("response_metadata")
    cursor = metadata.get("next_cursor") if isinstance(metadata, dict) else None
    return str(cursor) if cursor and body.get("has_more") else None

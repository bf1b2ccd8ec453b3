"""Read the messages of a Slack thread from the JSON of ``conversations.replies``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from worker.thread.files import SlackFile, read_file

MOST_MESSAGES: Final = 500
DELETED: Final = "(deleted message)"

_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}", re.ASCII)
_ID: Final = re.compile(r"[UW][A-Z0-9]{1,63}", re.ASCII)
_OUR_METADATA: Final = "threadsync_"
_DEEPEST: Final = 6


@dataclass(frozen=True, slots=True)
class Us:
    """Our own bot, as ``auth.test`` names it; None where Slack does not say."""

    user_id: str | None = None
    bot_id: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadMessage:
    """A message of the thread. ``author`` is a Slack id, or the name that a bot gave itself.

    ``text`` is mrkdwn, perhaps empty; ``files`` are those that came with it.
    """

    ts: str
    author: str
    text: str
    files: tuple[SlackFile, ...] = ()

    @property
    def author_id(self) -> str | None:
        """The author's Slack id, where that is what is known."""
        return self.author if _ID.fullmatch(self.author) else None


@dataclass(frozen=True, slots=True)
class Transcript:
    """Messages of a thread, oldest first; ``left_out`` others stand between the first and the second."""

    messages: tuple[ThreadMessage, ...]
    left_out: int = 0

    def files(self) -> tuple[SlackFile, ...]:
        """Return the files of the messages, each once."""
        return tuple({file.id: file for message in self.messages for file in message.files}.values())


def read_messages(content: Iterable[Any], us: Us) -> Iterator[ThreadMessage]:
    """Yield the messages that are not ours; what has no timestamp is none."""
    for raw in content:
        if isinstance(raw, dict) and _is_ts(raw.get("ts")) and not _is_ours(raw, us):
            yield ThreadMessage(raw["ts"], _author(raw), _text(raw), tuple(_files(raw)))


def transcript(messages: Iterable[ThreadMessage], until: str, most: int = MOST_MESSAGES) -> Transcript:
    """Return the messages up to the moment ``until``: of more than ``most`` the first and the last others.

    Slack repeats the thread's first message on each page; each message is taken once.
    """
    end = Decimal(until)
    seen = {message.ts: message for message in messages if Decimal(message.ts) <= end}
    ordered = sorted(seen.values(), key=lambda message: Decimal(message.ts))
    left_out = max(len(ordered) - most, 0)
    if left_out:
        ordered = [ordered[0], *ordered[len(ordered) - most + 1 :]]
    return Transcript(tuple(ordered), left_out)


def _is_ts(value: Any) -> bool:
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def _is_ours(raw: Mapping[str, Any], us: Us) -> bool:
    metadata = raw.get("metadata")
    kind = metadata.get("event_type") if isinstance(metadata, dict) else None
    return (
        (us.bot_id is not None and raw.get("bot_id") == us.bot_id)
        or (us.user_id is not None and raw.get("user") == us.user_id)
        or (isinstance(kind, str) and kind.startswith(_OUR_METADATA))
    )


def _author(raw: Mapping[str, Any]) -> str:
    """Return the name that a bot gave itself for this message, the user's id, or the bot's name."""
    profile = raw.get("bot_profile")
    bot = profile.get("name") if isinstance(profile, dict) else None
    found = (raw.get("username"), raw.get("user"), bot, raw.get("bot_id"))
    return next((name for name in found if isinstance(name, str) and name.strip()), "")


def _text(raw: Mapping[str, Any]) -> str:
    if raw.get("subtype") == "tombstone":
        return DELETED
    text = raw.get("text")
    if isinstance(text, str) and text.strip():
        return text
    # Bots may write in blocks and attachments alone.
    parts = [*_texts(raw.get("blocks"), 0), *_attached(raw.get("attachments"))]
    return "\n".join(part for part in parts if part.strip())


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts of blocks, in their order."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _texts(item, depth + 1)
    elif isinstance(value, dict):
        text = value.get("text")
        if isinstance(text, str):
            yield text
        for name in ("text", "fields", "elements"):
            if not isinstance(value.get(name), str):
                yield from _texts(value.get(name), depth + 1)


def _attached(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            shown = [item.get(name) for name in ("pretext", "title", "text")]
            texts = [text for text in shown if isinstance(text, str) and text.strip()]
            fallback = item.get("fallback")
            yield from texts or ([fallback] if isinstance(fallback, str) else [])


def _files(raw: Mapping[str, Any]) -> Iterator[SlackFile]:
    listed = raw.get("files")
    for item in listed if isinstance(listed, list) else ():
        if file := read_file(item):
            yield file

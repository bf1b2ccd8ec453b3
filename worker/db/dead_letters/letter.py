"""Messages that failed for good, as Postgres takes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from threadsync.errors import CommandFailed
from worker.db.forgetting.arrivals import NO_WORDS, Redaction

LONGEST_NAME: Final = 255
_LONGEST_ERROR: Final = 10_000
_LONGEST_COMMAND: Final = 1024 * 1024
"""Longest message of ours. The main process, which may bury it, need not have room to read a longer one."""
_PACKED: Final = re.compile(r"[A-Za-z0-9+/]{40}")
"""Pattern of packed text, such as base64."""
_UNREAD: Final = ("\ufffd", "\x00", "\\u", "\\x", "%")
"""Characters of another spelling, in which a person's id would not be found."""
_THREAD: Final = re.compile(r"[0-9]\.[0-9]|[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")
"""A thread's timestamp, or the id of a session."""
_KEPT_BYTES: Final = 64 * 1024
_MOST_ATTEMPTS: Final = 2**31 - 1


@dataclass(frozen=True)
class Letter:
    """The part of a message that is kept: its arguments (JSON text), or its bytes where it is unreadable.

    ``missing``: number of bytes at the end of the body that are not kept. ``answer``: id of the task whose
    result is to be the error; empty for none. ``about``: arguments that name its thread, where it has none;
    ``said``: text in place of the error's.
    """

    task_id: str
    task_name: str
    queue: str
    error: BaseException
    attempts: int
    arguments: str | None = None
    body: bytes | None = None
    missing: int = 0
    first_attempt_at: datetime | None = None
    answer: str = ""
    about: str | None = None
    said: str | None = None

    @property
    def told(self) -> str | None:
        return self.arguments if self.arguments is not None else self.about

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        return len(self.body or b"") + len(self.arguments or "")

    def params(self) -> dict[str, Any]:
        return {
            "task_id": as_key(self.task_id),
            "task_name": as_name(self.task_name),
            "queue": as_name(self.queue),
            "arguments": None if self.arguments is None else printable(self.arguments),
            "body": self.body,
            "error_type": type(self.error).__name__,
            "error": printable(str(self.error) if self.said is None else self.said)[:_LONGEST_ERROR]
            + _said(self.body, self.missing),
            "attempts": min(self.attempts, _MOST_ATTEMPTS),
            "first_attempt_at": self.first_attempt_at,
            **(about := _about(self.told)),
            "is_opaque": _is_opaque(about, self.told, self.body),
        }

    def shortened(self) -> Letter:
        """Return a dead letter that any database takes: our own words, and the first bytes of the message."""
        whole = self.body if self.body is not None else printable(self.arguments or "").encode()
        kept = whole[:_KEPT_BYTES]
        digest = hashlib.sha256(self.task_id.encode("utf-8", "backslashreplace") + whole).hexdigest()
        return Letter(
            task_id=f"letter-{digest}",
            task_name="(unknown)",
            queue="(unknown)",
            error=CommandFailed(f"{type(self.error).__name__}; the dead letter was refused as it was"),
            attempts=1,
            body=kept,
            missing=self.missing + len(whole) - len(kept),
            answer=self.answer,
            about=self.arguments,
        )

    def without_forgotten(self, known: Redaction) -> Letter:
        """Return the dead letter without the people who were forgotten."""
        if not known:
            return self
        arguments, body = _redacted(known, self.arguments), _without_forgotten(known, self.body)
        return replace(
            self,
            task_id=known.text(self.task_id),
            task_name=known.text(self.task_name),
            arguments=NO_WORDS if body is None and arguments is None else arguments,
            body=body,
            said=known.text(str(self.error)),
        )

    def content(self) -> str:
        """Return a hash that tells this message from another one with the same task id."""
        text = printable(self.arguments or "").encode()
        return hashlib.sha256(text + bytes(1) + (self.body or b"")[:_KEPT_BYTES]).hexdigest()[:16]


def _redacted(known: Redaction, arguments: str | None) -> str | None:
    if arguments is None or len(arguments) > _LONGEST_COMMAND:
        return None
    return known.message(arguments)


def _without_forgotten(known: Redaction, body: bytes | None) -> bytes | None:
    """Return the bytes, or None if they name a person who was forgotten, or cannot be searched."""
    if body is None or len(body) > _LONGEST_COMMAND:
        return None
    text = body.decode("utf-8", "replace")
    # For a day after an act of forgetting an unreadable or packed body is not kept.
    is_read = not any(sign in text for sign in _UNREAD) and not _PACKED.search(text)
    return body if is_read and not known.finds_in(text) else None


def _is_opaque(about: Mapping[str, str | None], told: str | None, body: bytes | None) -> bool:
    """Return True if a message may be about any thread: it names none, and cannot be searched."""
    if about["about_session"] or (about["about_channel"] and about["about_thread"]):
        return False
    text = (body or b"").decode("utf-8", "replace") + (told or "")
    return "\ufffd" in text or bool(_PACKED.search(text) or _THREAD.search(text))


def _about(arguments: str | None) -> dict[str, str | None]:
    """Return the thread, channel or session that a message was about, as far as it can be read."""
    found: dict[str, str | None] = dict.fromkeys(("about_channel", "about_thread", "about_session"))
    if arguments is None or len(arguments) > _LONGEST_COMMAND:
        return found
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError):
        kwargs = json.loads(arguments)["kwargs"]
        for place, name in (("about_channel", "channel_id"), ("about_thread", "thread_ts")):
            if isinstance(kwargs.get(name), str):
                found[place] = printable(kwargs[name])[:LONGEST_NAME]
        found["about_session"] = str(UUID(kwargs["session_id"]))
    return found


def as_key(text: str) -> str:
    # Any text may be a task id; a long one would not fit into the index.
    text = printable(text)
    return text if len(text) <= LONGEST_NAME else f"sha256-{hashlib.sha256(text.encode()).hexdigest()}"


def as_name(name: str) -> str:
    return printable(name)[:LONGEST_NAME]


def _said(body: bytes | None, missing: int) -> str:
    kept = len(body or b"")
    return f"; too large, so the first {kept} of its {kept + missing} bytes are kept" if missing else ""


def printable(text: str) -> str:
    # Postgres' text takes neither NUL nor half a surrogate pair.
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")

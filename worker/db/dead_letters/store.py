"""Dead letters, and counts of deaths: a poison message must not loop, a failed one must not be lost."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from threadsync.actors import AnyActor, as_json
from threadsync.dead_letters import DeadLetter, DeadLetterState
from threadsync.errors import CommandFailed, DeadLetterNotFound
from worker.db.dead_letters import sql as queries
from worker.db.forgetting.arrivals import NO_WORDS, Redaction
from worker.db.forgetting.store import ForgetStore
from worker.db.store import Store

_LONGEST_NAME: Final = 255
_LONGEST_ERROR: Final = 10_000
_LONGEST_COMMAND: Final = 1024 * 1024
"""Longest message of ours. The main process, which may bury it, need not have room to read a longer one."""
_PACKED: Final = re.compile(r"[A-Za-z0-9+/]{40}")
"""Base64, say."""
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
            "task_id": _key(self.task_id),
            "task_name": _text(self.task_name),
            "queue": _text(self.queue),
            "arguments": None if self.arguments is None else _printable(self.arguments),
            "body": self.body,
            "error_type": type(self.error).__name__,
            "error": _printable(str(self.error) if self.said is None else self.said)[:_LONGEST_ERROR]
            + _said(self.body, self.missing),
            "attempts": min(self.attempts, _MOST_ATTEMPTS),
            "first_attempt_at": self.first_attempt_at,
            **(about := _about(self.told)),
            "is_opaque": _is_opaque(about, self.told, self.body),
        }

    def shortened(self) -> Letter:
        """Return one that any database takes: our own words, and the first bytes of the message."""
        whole = self.body if self.body is not None else _printable(self.arguments or "").encode()
        kept = whole[:_KEPT_BYTES]
        digest = hashlib.sha256(self.task_id.encode("utf-8", "backslashreplace") + whole).hexdigest()
        return Letter(
            task_id=f"letter-{digest}",
            task_name="(unknown)",
            queue="(unknown)",
            error=CommandFailed(f"{type(self.error).__name__}; the letter was refused as it was"),
            attempts=1,
            body=kept,
            missing=self.missing + len(whole) - len(kept),
            answer=self.answer,
            about=self.arguments,
        )

    def without_forgotten(self, known: Redaction) -> Letter:
        """Return it without the people who were forgotten."""
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
        """Return a hash that tells it from another message with the same task id."""
        text = _printable(self.arguments or "").encode()
        return hashlib.sha256(text + bytes(1) + (self.body or b"")[:_KEPT_BYTES]).hexdigest()[:16]


class DeadLetterStore(Store):
    """Dead letters, and the openings of messages that may kill their process."""

    def open_suspect(
        self, key: str, task_name: str, opened_by: str, *, died: bool = False
    ) -> tuple[int, bool]:
        """Record that ``opened_by`` opens the message now; ``died``: its last opening by the same ended so.

        Returns how often it has ended its process, and whether the last time came after it had been read.
        """
        params = {"task_id": _key(key), "task_name": _text(task_name), "opened_by": opened_by, "died": died}
        row = self._rows(queries.OPEN_SUSPECT, params)[0]
        return int(row["deaths"]), bool(row["was_read"])

    def note_read(self, key: str) -> None:
        """Record that the open message was parsed and decoded, and that its process lives."""
        self._rows(queries.NOTE_READ, {"task_id": _key(key)})

    def close_suspect(self, key: str) -> None:
        """Record that the message is not open any more; its deaths stay."""
        self._rows(queries.CLOSE_SUSPECT, {"task_id": _key(key)})

    def close_suspects(self, keys: Sequence[str], opened_by: str) -> None:
        """Record that these are not open any more, as far as ``opened_by`` was the last to open them."""
        params = {"task_ids": [_key(key) for key in keys], "opened_by": opened_by}
        self._rows(queries.CLOSE_SUSPECTS, params)

    def forget_redeliveries(self, key: str) -> None:
        """Delete the deaths of a message that has ended."""
        self._rows(queries.FORGET_REDELIVERIES, {"task_id": _key(key)})

    def bury(self, letter: Letter) -> UUID:
        """Keep a message; return the id of its dead letter.

        Repeatable: a second burial of the same message changes nothing, and returns the first one's id.
        Another message that has the same task id gets a dead letter of its own.
        """
        return self.keep([letter])[0]

    def keep(self, letters: Sequence[Letter]) -> list[UUID]:
        """Bury all of these, or none."""
        known = Redaction(ForgetStore(self._pool).people())
        with (
            self._connection() as connection,
            # One is a transaction by itself.
            connection.transaction() if len(letters) > 1 else nullcontext(),
        ):
            return [_kept(connection, letter.without_forgotten(known)) for letter in letters]

    def takes_letters(self) -> bool:
        """Return True if a sound dead letter could be written now; else raise the reason."""
        probe = Letter("probe", "probe", "probe", CommandFailed("probe"), 1, arguments="{}")
        with self._connection() as connection, connection.transaction(force_rollback=True):
            _kept(connection, probe)
        return True

    def list_by_state(
        self, state: DeadLetterState = "dead", limit: int = 50, before: UUID | None = None
    ) -> list[DeadLetter]:
        """Return dead letters in one state, newest first, from before the id ``before``."""
        params = {"state": state, **self._page(limit, before)}
        return [DeadLetter.of_row(row) for row in self._rows(queries.LIST_DEAD_LETTERS, params)]

    def get(self, dead_letter_id: UUID | str) -> DeadLetter:
        """Return one dead letter. Raises ``DeadLetterNotFound``."""
        rows = self._rows(queries.GET_DEAD_LETTER, {"dead_letter_id": _id(dead_letter_id)})
        if not rows:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: threadsync dead list")
        return DeadLetter.of_row(rows[0])

    def settle(
        self,
        dead_letter_id: UUID | str,
        state: Literal["retried", "discarded"],
        *,
        actor: str,
        reason: str,
        acted_by: AnyActor | None = None,
    ) -> DeadLetter:
        """Record who settled it, and why. Raises ``DeadLetterNotFound`` if it is settled already."""
        params = {
            "dead_letter_id": _id(dead_letter_id),
            "state": state,
            "actor": _printable(actor),
            "reason": _printable(reason),
            "settled_by": as_json(acted_by),
        }
        rows = self._rows(queries.SETTLE_DEAD_LETTER, params)
        if not rows:
            raise already_settled(self.get(dead_letter_id))
        return DeadLetter.of_row(rows[0])


def already_settled(letter: DeadLetter) -> DeadLetterNotFound:
    """Return the error for a dead letter that is settled already; it names by whom, and why."""
    return DeadLetterNotFound(
        f"dead letter {letter.id} was already {letter.state} by {letter.actor}: {letter.reason}"
    )


def _kept(connection: psycopg.Connection[DictRow], letter: Letter) -> UUID:
    params = letter.params()
    row = connection.execute(queries.BURY, params).fetchone()
    if row is None:
        # Another message's. Of the sender's own making, or of one that was made to look like it.
        params["task_id"] = f"{params['task_id'][: _LONGEST_NAME - 20]}#{letter.content()}"
        row = connection.execute(queries.BURY, params).fetchone()
    assert row is not None  # noqa: S101 - what the key stands for is the content
    found: UUID = row["id"]
    return found


def _id(value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except ValueError:
        raise DeadLetterNotFound(
            f"{str(value)[:40]!r} is not the id of a dead letter; see: threadsync dead list"
        ) from None


def _redacted(known: Redaction, arguments: str | None) -> str | None:
    if arguments is None or len(arguments) > _LONGEST_COMMAND:
        return None
    return known.message(arguments)


def _without_forgotten(known: Redaction, body: bytes | None) -> bytes | None:
    """Return the bytes, or None if they name a person who was forgotten, or cannot be searched."""
    if body is None:
        return None
    if len(body) > _LONGEST_COMMAND:
        return None
    text = body.decode("utf-8", "replace")
    # For a day what cannot be read, because it may be packed, is not kept.
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
                found[place] = _printable(kwargs[name])[:_LONGEST_NAME]
        found["about_session"] = str(UUID(kwargs["session_id"]))
    return found


def _key(text: str) -> str:
    # Any text may be a task id; a long one would not fit into the index.
    text = _printable(text)
    return text if len(text) <= _LONGEST_NAME else f"sha256-{hashlib.sha256(text.encode()).hexdigest()}"


def _text(name: str) -> str:
    return _printable(name)[:_LONGEST_NAME]


def _said(body: bytes | None, missing: int) -> str:
    kept = len(body or b"")
    return f"; too large, so the first {kept} of its {kept + missing} bytes are kept" if missing else ""


def _printable(text: str) -> str:
    # Postgres' text takes neither NUL nor half a surrogate pair.
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")

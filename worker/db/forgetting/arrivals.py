"""Redact messages that name a person who was forgotten within the last day, as they arrive.

They may have been sent before, and lie in the broker, wait for their session, or be replayed. Each part of a
message that is as long as the id or the name of such a person is hashed with that one's key. The people are
read again after ``LOOK_SECONDS``; an act of forgetting waits for longer before it erases anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Any, Final

from threadsync.errors import DatabaseUnavailable
from worker.db.forgetting.store import ForgetStore, ForgottenPerson
from worker.db.forgetting.words import as_compared, spans, unescaped
from worker.db.pool import Pool

LOOK_SECONDS: Final = 1.0
FORGOTTEN: Final = "forgotten"
NO_WORDS: Final = "(forgotten)"

_PROJECT: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
_PATCH: Final = "patch"
_WHOSE: Final = ("user_id", "actor", "name")
_DEEPEST: Final = 100
_LONGEST_KEPT: Final = 4_000

# A person may be called Channel, or Project, or as a key of Jira's begins. So where a word is one of ours, or
# says which thread or ticket, only all of it is looked up.
PLACES: Final = frozenset(
    {
        *("channel_id", "new_channel_id", "thread_ts", "session_id", "command_id", "task_id", "team_id"),
        *("jira_key", "jira_id", "project_key", "issue_type", "status", "outcome", "via", "cursor", "queue"),
        *("drafted_at", "unlinked_at", "since", "limit", "maybe_said", "type", "action_id", "value"),
        *("groups", "member", "step", "file_id"),
    }
)
"""Arguments that hold no text of a person."""

ARGUMENTS: Final = PLACES | {
    *("user_id", "actor", "name", "address", "draft", "summary", "description", "labels", "patch", "reason"),
    *("text", "blocks", "priority", "assignee", "fields"),
}
"""The names of arguments, which stay as they are."""


def hash_of(key: bytes, person: str) -> bytes:
    """Return the keyed hash that ``threadsync_person_hash`` makes of what ``as_compared`` returns."""
    # ASCII alone, as Postgres' collation "C" has it.
    return sha256(key + sha256(key + person.encode("utf-8", "replace").upper()).digest()).digest()


class Redaction:
    """Erases people from a command's arguments."""

    def __init__(self, people: Sequence[ForgottenPerson]) -> None:
        self._people = people
        self._lengths = sorted({person.letters for person in people})

    def __bool__(self) -> bool:
        return bool(self._people)

    def arguments(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments without forgotten people; if one of them sent the command, without words too."""
        redacted: dict[str, Any] = self._without(kwargs, 0)
        if self._is_theirs(kwargs, 0):
            redacted |= {name: value for name, value in _wordless(kwargs).items() if name in kwargs}
        return redacted

    def values(self, args: Sequence[Any]) -> list[Any]:
        """Return positional arguments without forgotten people."""
        return [self._without(value, 0) for value in args]

    def text(self, text: str) -> str:
        """Return a text with ``forgotten`` in place of forgotten people's ids and names."""
        redacted, end = "", 0
        for start, behind in self._spans(text):
            redacted += f"{text[end:start]}{FORGOTTEN}"
            end = behind
        return redacted + text[end:]

    def finds_in(self, text: str) -> bool:
        """Return True if a text, which may be JSON or a part of it, names a forgotten person."""
        return bool(self._spans(text) or self._spans(unescaped(text)))

    def message(self, arguments: str) -> str:
        """Return the JSON of a message's arguments, redacted; what cannot be parsed, as a text."""
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            message = json.loads(arguments)
            args, kwargs = self.values(message["args"]), self.arguments(message["kwargs"])
            return json.dumps({"args": args, "kwargs": kwargs})
        return self.text(arguments)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        if not self._lengths or len(text) < self._lengths[0]:
            return []
        return spans(text, self._lengths, self._is_person)

    def _is_person(self, word: str) -> bool:
        return any(hash_of(each.key, word) == each.hash for each in self._people if each.letters == len(word))

    def _is_theirs(self, value: Any, depth: int) -> bool:
        if not isinstance(value, Mapping) or depth > _DEEPEST:
            return False
        return any(
            self._is_theirs(inner, depth + 1) or (isinstance(inner, str) and bool(self._spans(inner)))
            for name, inner in value.items()
            if name in _WHOSE
        )

    def _without(self, value: Any, depth: int, place: str = "") -> Any:
        if isinstance(value, str):
            return self.text(value) if place not in PLACES else self._whole(value)
        if depth > _DEEPEST:
            # No command of ours.
            return NO_WORDS
        if isinstance(value, Mapping):
            # An actor's, such as the console has noted.
            left_out = "address" if self._is_theirs(value, depth) else None
            return {
                self._key(str(name), place): self._without(inner, depth + 1, _place(str(name), place))
                for name, inner in value.items()
                if name != left_out
            }
        if isinstance(value, list | tuple):
            return [self._without(inner, depth + 1, place) for inner in value]
        return value

    def _key(self, name: str, place: str) -> str:
        return name if name in ARGUMENTS and place != _PATCH else self.text(name)

    def _whole(self, text: str) -> str:
        return FORGOTTEN if self._is_person(as_compared(text)) else text


def _place(name: str, place: str) -> str:
    # All in a patch may be a person's words, whatever its keys are called.
    return _PATCH if _PATCH in (name, place) else name


def _wordless(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    draft = kwargs.get("draft")
    project = draft.get("project_key") if isinstance(draft, Mapping) else None
    keeps = isinstance(project, str) and _PROJECT.fullmatch(project)
    wordless = {"summary": NO_WORDS, **({"project_key": project} if keeps else {})}
    return {"draft": wordless, "reason": NO_WORDS, "patch": {}, "text": NO_WORDS, "blocks": []}


def kept(words: str | None, pool: Pool | None) -> str | None:
    """Return Jira's words as Postgres takes them, without people who were forgotten within the last day.

    They may quote a draft that a step in progress has in memory. Raises ``DatabaseUnavailable``.
    """
    if not words:
        return words
    text = Redaction(ForgetStore(pool).people()).text(words)
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:_LONGEST_KEPT]


class _Known:
    """Cache of the people to redact, and the moment of the next look."""

    redaction = Redaction(())
    until = 0.0


def redaction() -> Redaction:
    """Return the redaction that holds now; while Postgres is away, the last known one."""
    if monotonic() >= _Known.until:
        _look()
    return _Known.redaction


def look_ahead() -> None:
    """Look now if a look is due soon, so that the next command need not wait for one."""
    if monotonic() >= _Known.until - LOOK_SECONDS / 2:
        _look()


@contextmanager
def without_looking() -> Iterator[None]:
    """Keep to what is known, within the block: to look may take seconds while Postgres is away."""
    until, _Known.until = _Known.until, inf
    try:
        yield
    finally:
        _Known.until = until


def _look() -> None:
    # Each look may take as long as a command: not one for each command of a batch.
    try:
        with suppress(DatabaseUnavailable):
            _Known.redaction = Redaction(ForgetStore().people())
    finally:
        _Known.until = monotonic() + LOOK_SECONDS

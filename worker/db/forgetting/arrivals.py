"""Redact messages that name a person who was forgotten within the last day, as they arrive.

They may have been sent before, and lie in the broker, wait for their session, or be sent by an operator.
Each id in a message is hashed with the key of each such person. The people are read again after
``LOOK_SECONDS``; an act of forgetting waits for longer than that before it takes anything away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import Any, Final

from worker.db.forgetting.store import ForgetStore, ForgottenPerson
from worker.errors import DatabaseUnavailable

LOOK_SECONDS: Final = 1.0
FORGOTTEN: Final = "forgotten"
NO_WORDS: Final = "(forgotten)"

# What may be an id in a text: it begins as Slack's do, has a digit, or is mentioned.
_ID: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:[UWuw]|(?=[A-Za-z]*[0-9])|(?<=<@))[A-Za-z0-9]{1,63}(?![A-Za-z0-9])"
)
_PROJECT: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
_WHOSE: Final = ("user_id", "actor", "name")
_DEEPEST: Final = 100
_LONGEST: Final = 200


def hash_of(key: bytes, person: str) -> bytes:
    """The keyed hash, as ``threadsync_person_hash`` makes it."""
    # ASCII alone, as Postgres' collation "C" has it.
    return sha256(key + sha256(key + person.encode("utf-8", "replace").upper()).digest()).digest()


class Redaction:
    """Takes these people out of a command's arguments."""

    def __init__(self, people: Sequence[ForgottenPerson]) -> None:
        self._people = people

    def __bool__(self) -> bool:
        return bool(self._people)

    def arguments(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments without them. Of a command that one of them sent, without its words too."""
        redacted: dict[str, Any] = self._without(kwargs, 0)
        if self._is_theirs(kwargs, 0):
            redacted |= {name: value for name, value in _wordless(kwargs).items() if name in kwargs}
        return redacted

    def values(self, args: Sequence[Any]) -> list[Any]:
        """The same of arguments without names."""
        return [self._without(value, 0) for value in args]

    def text(self, text: str) -> str:
        """A text with ``forgotten`` in place of their ids."""
        if self._is_person(text):
            return FORGOTTEN
        return _ID.sub(lambda found: FORGOTTEN if self._is_person(found[0]) else found[0], text)

    def message(self, arguments: str) -> str:
        """The JSON text of a message's arguments, redacted; one that cannot be read, as a text."""
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            message = json.loads(arguments)
            args, kwargs = self.values(message["args"]), self.arguments(message["kwargs"])
            return json.dumps({"args": args, "kwargs": kwargs})
        return self.text(arguments)

    def _is_person(self, text: str) -> bool:
        return len(text) <= _LONGEST and any(hash_of(each.key, text) == each.hash for each in self._people)

    def _is_theirs(self, value: Any, depth: int) -> bool:
        if not isinstance(value, Mapping) or depth > _DEEPEST:
            return False
        return any(
            self._is_theirs(inner, depth + 1) or (isinstance(inner, str) and self._is_person(inner))
            for name, inner in value.items()
            if name in _WHOSE
        )

    def _without(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if depth > _DEEPEST:
            # No command of ours.
            return NO_WORDS
        if isinstance(value, Mapping):
            # An actor's, such as the console has noted.
            left_out = "address" if self._is_theirs(value, depth) else None
            return {
                self.text(str(name)): self._without(inner, depth + 1)
                for name, inner in value.items()
                if name != left_out
            }
        if isinstance(value, list | tuple):
            return [self._without(inner, depth + 1) for inner in value]
        return value


def _wordless(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    draft = kwargs.get("draft")
    project = draft.get("project_key") if isinstance(draft, Mapping) else None
    keeps = isinstance(project, str) and _PROJECT.fullmatch(project)
    wordless = {"summary": NO_WORDS, **({"project_key": project} if keeps else {})}
    return {"draft": wordless, "reason": NO_WORDS, "patch": {}, "text": NO_WORDS, "blocks": []}


class _Known:
    """The people that this process knows of, and until when it need not look again."""

    redaction = Redaction(())
    until = 0.0


def redaction() -> Redaction:
    """The redaction that holds now. While Postgres is away, the one that was last known."""
    if monotonic() >= _Known.until:
        # Each look may take as long as a command: not one for each command of a batch.
        try:
            with suppress(DatabaseUnavailable):
                _Known.redaction = Redaction(ForgetStore().people())
        finally:
            _Known.until = monotonic() + LOOK_SECONDS
    return _Known.redaction

"""Find what a dead letter is about and whom it names, also where its bytes are packed. Pure.

A letter that could not be read has its message's bytes: JSON, whose body is base64, which may be compressed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from worker.decompression import unpackers

_DEEPEST: Final = 4
_NO_SPACES_FROM: Final = 0x0E00
"""Scripts from Thai on do not put spaces between words."""

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\s]{16,}={0,2}\s*")


@dataclass(frozen=True, slots=True)
class Sought:
    """Words of a person, threads, sessions and channels to look for."""

    words: Collection[str] = ()
    threads: Collection[tuple[str, str]] = ()
    sessions: Collection[UUID] = ()
    channels: Collection[str] = ()

    def is_in(self, letter: Mapping[str, Any]) -> bool:
        """Return True if a row of ``dead_letters`` names or is about any of it."""
        texts = [value for name, value in letter.items() if isinstance(value, str) and name != "arguments"]
        for layer in (letter.get("arguments") or "").encode(), bytes(letter.get("body") or b""):
            for text in _layers(layer):
                texts.append(text)
                with suppress(ValueError, RecursionError):
                    parsed = json.loads(text)
                    if self._is_about(parsed):
                        return True
                    # With its letters as they are: in JSON some are written by number.
                    texts.append(json.dumps(parsed, ensure_ascii=False))
        return self.is_named_in(*texts)

    def is_named_in(self, *texts: str) -> bool:
        """Return True if one of the words is in one of these texts, as a word of its own."""
        if not self.words:
            return False
        spellings = {spelt for word in self.words for spelt in (word, json.dumps(word)[1:-1])}
        pattern = re.compile("|".join(map(_as_a_word, spellings)), re.IGNORECASE)
        return any(pattern.search(text) for text in texts)

    def _is_about(self, value: Any) -> bool:
        """Look at each object in it, as deep as JSON goes."""
        level = [value]
        while level:
            if any(self._names(item) for item in level if isinstance(item, Mapping)):
                return True
            level = [inner for item in level for inner in _contents(item)]
        return False

    def _names(self, item: Mapping[str, Any]) -> bool:
        channel, thread = item.get("channel_id"), item.get("thread_ts")
        if isinstance(channel, str) and (channel in self.channels or (channel, thread) in self.threads):
            return True
        with suppress(ValueError, AttributeError, TypeError):
            return UUID(item["session_id"]) in self.sessions if "session_id" in item else False
        return False


def _as_a_word(word: str) -> str:
    """As the functions in the database look for it."""
    before = r"(?<![^\W_])" if word[0].isalnum() and ord(word[0]) < _NO_SPACES_FROM else ""
    behind = r"(?![^\W_])" if word[-1].isalnum() and ord(word[-1]) < _NO_SPACES_FROM else ""
    return f"{before}{re.escape(word)}{behind}"


def _contents(item: Any) -> Collection[Any]:
    if isinstance(item, Mapping):
        return item.values()
    return item if isinstance(item, list) else ()


def _layers(content: bytes) -> Iterator[str]:
    """Yield the text, and the text in what is packed in it."""
    level = [content] if content else []
    for _ in range(_DEEPEST):
        for layer in level:
            yield layer.decode("utf-8", "replace")
        level = [inner for layer in level for inner in _inside(layer)]


def _inside(layer: bytes) -> Iterator[bytes]:
    with suppress(ValueError, RecursionError):
        parsed = json.loads(layer)
        if isinstance(parsed, dict) and isinstance(parsed.get("body"), str):
            yield parsed["body"].encode()
    if _BASE64.fullmatch(layer):
        with suppress(ValueError):
            yield base64.b64decode(layer)
    for unpack in unpackers():
        # Not packed so, mostly.
        with suppress(Exception):
            yield unpack(layer)

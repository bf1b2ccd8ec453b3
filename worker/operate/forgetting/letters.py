"""Find the threads and people that a dead letter is about, also in packed bytes. Pure.

A dead letter that could not be read has its message's bytes: JSON, whose body is base64, which may be
compressed. Of a large one only the beginning was kept, so each of these may be cut off.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final
from uuid import UUID

from worker.db.forgetting.words import NO_SPACES_FROM, unescaped

_DEEPEST: Final = 4
_BEGINS: Final = r"(?:(?<![^\W_])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))"
_ANY_SPACE: Final = r"(?:\s|\\[nrt])+"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\s]{16,}={0,2}\s*")
_PACKED: Final = re.compile(rb"[A-Za-z0-9+/]{40,}")
"""Base64 in something else, such as in JSON that is cut off."""

_STREAMS: Final[tuple[Callable[[], Any], ...]] = (
    partial(zlib.decompressobj, 32 + zlib.MAX_WBITS),
    bz2.BZ2Decompressor,
    lzma.LZMADecompressor,
)
_IDS: Final = ("channel_id", "new_channel_id", "thread_ts", "session_id")
_MOST_ARGUMENTS: Final = 16
_CHANNEL: Final = re.compile(r"[A-Z0-9]{2,64}")
_MOMENT: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sought:
    """Words of a person, threads, sessions and channels to look for."""

    words: Collection[str] = ()
    threads: Collection[tuple[str, str]] = ()
    sessions: Collection[UUID] = ()
    channels: Collection[str] = ()

    def is_in(self, letter: Mapping[str, Any]) -> bool:
        """Return True if a row of ``dead_letters`` names or is about anything sought."""
        texts = [value for name, value in letter.items() if isinstance(value, str) and name != "arguments"]
        for layer in (letter.get("arguments") or "").encode(), bytes(letter.get("body") or b""):
            for text in _layers(layer):
                texts.append(text)
                with suppress(ValueError, RecursionError):
                    parsed = json.loads(text)
                    if self._is_about(parsed):
                        return True
                    # Without JSON's escapes, which write some letters by number.
                    texts.append(json.dumps(parsed, ensure_ascii=False))
                    continue
                texts.append(unescaped(text))
                if self._is_told_in(text):
                    return True
        return self.is_named_in(*texts)

    def is_named_in(self, *texts: str) -> bool:
        """Return True if one of the words is in one of these texts, as a word of its own."""
        return _has_one(self.words, texts)

    def _is_told_in(self, text: str) -> bool:
        """Return True if a text that is no JSON has the ids of anything sought."""
        moments = {thread for _, thread in self.threads}.intersection(_MOMENT.findall(text))
        channels = set(_CHANNEL.findall(text)) if moments else ()
        return (
            _has_one(self.channels, [text])
            or any(UUID(found) in self.sessions for found in _UUID.findall(text))
            or any((channel, moment) in self.threads for channel in channels for moment in moments)
        )

    def _is_about(self, value: Any) -> bool:
        """Return True if an object in a JSON value, at any depth, names anything sought."""
        level, depth = [value], 0
        while level:
            if any(self._names(item, depth) for item in level):
                return True
            level, depth = [inner for item in level for inner in _inner(item)], depth + 1
        return False

    def _names(self, item: Any, depth: int) -> bool:
        if isinstance(item, Mapping):
            ids = {_spelt(item[name]) for name in _IDS if name in item}
        elif isinstance(item, list) and depth <= 1 and len(item) <= _MOST_ARGUMENTS:
            # Arguments without names.
            ids = {_spelt(inner) for inner in item}
        else:
            return False
        return (
            any(channel in ids for channel in self.channels)
            or any(pair in self.threads for pair in product(ids, ids))
            or any(_as_uuid(text) in self.sessions for text in ids)
        )


def _has_one(words: Collection[str], texts: Iterable[str]) -> bool:
    if not words:
        return False
    spellings = {spelt for word in words for spelt in (word, json.dumps(word)[1:-1])}
    pattern = re.compile("|".join(map(_as_a_word, spellings)), re.IGNORECASE)
    return any(pattern.search(text) for text in texts)


def _as_a_word(word: str) -> str:
    # The same rule as in the database's functions.
    before = _BEGINS if word[0].isalnum() and word[0] < NO_SPACES_FROM else ""
    behind = r"(?![^\W_])" if word[-1].isalnum() and word[-1] < NO_SPACES_FROM else ""
    return f"{before}{_ANY_SPACE.join(map(re.escape, word.split()))}{behind}"


def _spelt(value: Any) -> str:
    # A thread's timestamp may have come as a number.
    if isinstance(value, float):
        return f"{value:.6f}"
    return value if isinstance(value, str) else ""


def _as_uuid(text: str) -> UUID | None:
    with suppress(ValueError):
        return UUID(text)
    return None


def _inner(item: Any) -> Collection[Any]:
    if isinstance(item, Mapping):
        return item.values()
    return item if isinstance(item, list) else ()


def _layers(content: bytes) -> Iterator[str]:
    """Yield the content as text, and layer by layer the texts packed in it."""
    level = [content] if content else []
    for _ in range(_DEEPEST):
        for layer in level:
            yield layer.decode("utf-8", "replace")
        level = [inner for layer in level for inner in _inside(layer)]


def _inside(layer: bytes) -> Iterator[bytes]:
    # Not with the console, which loads no kombu.
    from worker.durable.decompression import MOST_BYTES, unpackers

    if _BASE64.fullmatch(layer):
        yield _from_base64(b"".join(layer.split()))
    else:
        yield from map(_from_base64, _PACKED.findall(layer))
    # Most layers are not packed in this way.
    for unpack in unpackers():
        with suppress(Exception):
            yield unpack(layer)
    for open_stream in _STREAMS:
        # Read the beginning of a stream that may be cut off.
        with suppress(Exception):
            stream = open_stream()
            beginning = stream.decompress(layer, MOST_BYTES)
            if beginning and not stream.eof:
                yield beginning


def _from_base64(text: bytes) -> bytes:
    digits = text.rstrip(b"=")
    return base64.b64decode(digits[: len(digits) // 4 * 4] + _rest(digits))


def _rest(digits: bytes) -> bytes:
    # A single digit holds no whole byte.
    rest = digits[len(digits) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""

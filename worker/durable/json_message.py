"""Messages whose body is read as JSON up to a size, or not at all.

kombu also reads ``application/text``, whatever content is accepted, by any codec of Python's that the message
names: ``bz2`` and ``zlib`` make gigabytes of a few hundred bytes, ``idna`` takes hours.
"""

from __future__ import annotations

from typing import Any, Final

from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads

from worker.durable.decompression import MOST_BYTES

JSON: Final = "application/json"

MOST_PARTS: Final = 300_000
"""Most values in a message, by its commas. To parse, copy and show millions takes many seconds."""


class JsonMessage:
    """Mixin for a message class of kombu's, which reads its body by ``read_json``."""

    body: Any
    content_type: Any

    def _decode(self) -> Any:
        return read_json(self.body, self.content_type)


def read_json(body: Any, content_type: Any) -> Any:
    """Parse a body. Raises ``ContentDisallowed``, or what parsing raises."""
    if content_type != JSON:
        is_text = isinstance(content_type, str) and content_type.isprintable()
        shown = content_type[:100] if is_text else "(unreadable)"
        raise ContentDisallowed(f"content of type {shown}, not {JSON}")
    if len(body or b"") > MOST_BYTES:
        raise ContentDisallowed(f"content of {len(body)} bytes; the limit is {MOST_BYTES}")
    if body and has_too_many_parts(body):
        raise ContentDisallowed(f"content of more than {MOST_PARTS} parts")
    return loads(body, JSON, "utf-8", accept={JSON})


def has_too_many_parts(text: str | bytes) -> bool:
    """Return True if parsing the text would make more than ``MOST_PARTS`` values."""
    count: Any = text.count
    return bool(count("," if isinstance(text, str) else b",") > MOST_PARTS)

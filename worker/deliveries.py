"""Judge from a broker's count of deliveries whether a message may have killed the process that opened it.

A broker's count is suspicion and no proof: it also counts what was merely prefetched when a worker died or a
connection dropped. So a suspect is opened alone, after a record in Postgres that it is; only deaths after
such a record count (``worker.suspects``, ADR 15).

| broker | where the count is |
|---|---|
| Valkey, Redis | ``delivery_info["deliveries"]``, set by ``worker.transport`` |
| RabbitMQ, quorum queue | header ``x-delivery-count``: deliveries before this one |
| RabbitMQ, classic queue | nowhere: each redelivered message is a suspect |

A transport that can hand over a suspect without opening it (parsing, decompressing) gives its message an
attribute ``envelope`` and a method ``unsealed``, which returns the message that it stands for, under the same
tag. A message without these was opened by its transport.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from kombu.compression import decompress
from kombu.message import Message
from kombu.serialization import loads

OPENED_ALONE_FROM: Final = 3
"""The delivery from which on a message is a suspect."""

OPENED_AS: Final = "opened_as"
"""The header in which a worker notes the key of the record that it opened the message after."""

DELIVERIES: Final = "deliveries"
"""The key in ``delivery_info`` under which a transport says the number of this delivery."""


def suspicion(message: Message) -> int:
    """Return the number of this delivery, 1 for the first, as far as the broker tells.

    A redelivered message of a broker that does not count is a suspect at once.
    """
    info = message.delivery_info or {}
    counted = info.get(DELIVERIES)
    if isinstance(counted, int):
        return counted
    headers = message.headers if isinstance(message.headers, dict) else {}
    before = headers.get("x-delivery-count")
    if isinstance(before, int) and not isinstance(before, bool):
        return before + 1
    return OPENED_ALONE_FROM if info.get("redelivered") else 1


def is_suspect(message: Message) -> bool:
    """Return True if the message is to be opened alone, after a record."""
    return suspicion(message) >= OPENED_ALONE_FROM


def nameless(message: Message, body: Any = None) -> str:
    """Return what stands for the id of a message that has none: the same at each delivery.

    ``body`` is the one that it arrived with, where that is not the message's own.

    Not its tag: another message may have the same one later, and RabbitMQ's count from 1 in each connection.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    if opened_as := headers.get(OPENED_AS):
        return str(opened_as)
    return digest(_text(headers.get("task")).encode(), bytes_of(message.body if body is None else body))


def digest(*parts: bytes) -> str:
    """Return a name for the message that consists of these."""
    return f"message-{hashlib.sha256(bytes(1).join(parts)).hexdigest()}"


@dataclass(frozen=True)
class Envelope:
    """A message that is not opened yet, in the form in which it travels to the process that opens it.

    Attributes:
        key: under which its deaths are recorded. The task's id; without one, ``nameless``.
        body: the bytes that are to be opened; the whole message where ``is_whole``, as kombu's virtual
            transports write it.
    """

    key: str
    task_id: str
    task_name: str
    queue: str
    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None
    compression: str | None = None
    is_whole: bool = False

    def open(self) -> Any:
        """Parse, decompress and decode it: all that could kill a process. Returns the payload."""
        body, content_type, encoding = self.body, self.content_type, self.content_encoding
        compression = self.compression
        if self.is_whole:
            message = json.loads(body.decode())
            body = message["body"]
            if (message.get("properties") or {}).get("body_encoding") == "base64":
                body = base64.b64decode(body)
            content_type, encoding = message.get("content-type"), message.get("content-encoding")
            compression = (message.get("headers") or {}).get("compression")
        if compression:
            body = decompress(body, compression)
        decode: Any = loads  # the stubs know no message without a content type
        return decode(body, content_type, encoding, accept={"application/json"})


def envelope_of(message: Message) -> Envelope:
    """Return what the process that opens the message needs."""
    sealed: Envelope | None = getattr(message, "envelope", None)
    if sealed is not None:
        return sealed
    return envelope_around(message, message.body)


def envelope_around(message: Message, body: Any, compression: str | None = None) -> Envelope:
    """Return the envelope of a message that arrived with this body."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    is_bytes = isinstance(body, bytes)
    task_id, name = (_text(headers.get(part)) for part in ("id", "task"))
    return Envelope(
        key=task_id or nameless(message, body),
        task_id=task_id,
        task_name=name,
        queue=_text((message.delivery_info or {}).get("routing_key")),
        body=bytes_of(body),
        content_type=message.content_type,
        content_encoding=message.content_encoding if is_bytes else "utf-8",
        compression=compression,
    )


def bytes_of(body: Any) -> bytes:
    """Return a body as bytes, whatever a transport has made of it."""
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")


def unsealed(message: Message) -> Message:
    """Return the message to be handled, opened here. To acknowledge it acknowledges ``message``."""
    if getattr(message, "envelope", None) is None:
        return message
    opened: Message = message.unsealed()  # type: ignore[attr-defined]  # the transport's own
    return opened


def _text(value: Any) -> str:
    return value[:255] if isinstance(value, str) and value.isprintable() else ""

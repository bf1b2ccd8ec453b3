"""Judge from a broker's count of deliveries whether a message may have killed the process that opened it.

A broker's count is suspicion and no proof: it also counts what was merely prefetched when a worker died or a
connection dropped. So a suspect is opened alone, after a record in Postgres that it is; only deaths after
such a record count (``worker.durable.suspects``, ADR 15).

| broker | where the count is |
|---|---|
| Valkey, Redis | ``delivery_info["deliveries"]``, set by ``worker.durable.transport`` |
| RabbitMQ, quorum queue | header ``x-delivery-count``: deliveries before this one |
| RabbitMQ, classic queue | nowhere: each redelivered message is a suspect |

A transport that can hand over a suspect without opening it (parsing, decompressing) gives its message an
attribute ``envelope`` and a method ``unsealed``, which returns the message that it stands for, under the same
tag. A message without these was opened by its transport.

What does not fit into memory arrives cut off and sealed: each such delivery counts like a death, and the last
one makes a dead letter with the first ``KEPT_BYTES``. So arrives what was delivered often and is larger than
any command: to receive all of it may be what ends the main process, where nothing counts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Final

from kombu.compression import decompress
from kombu.message import Message

from worker.durable.decompression import MOST_BYTES
from worker.durable.json_message import read_json

OPENED_ALONE_FROM: Final = 3
"""The delivery from which on a message is a suspect."""

OPENED_AS: Final = "opened_as"
"""Header with the key of the record after which a worker opened the message."""

LARGEST_SUSPECT: Final = MOST_BYTES
"""Only the beginning of a larger suspect is received: neither packed nor unpacked is it a command."""

KEPT_BYTES: Final = 64 * 1024
"""Bytes kept of a message that arrives cut off: enough to tell whose it is."""

DELIVERIES: Final = "deliveries"
"""Key in ``delivery_info`` of the number of this delivery, if the transport knows it."""


class TooLarge(Exception):
    """A message of which a part was not received, as it does not fit into memory."""


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
    return getattr(message, "envelope", None) is not None or suspicion(message) >= OPENED_ALONE_FROM


def nameless(message: Message, body: Any = None) -> str:
    """Return a substitute for a missing id of a message, the same at each delivery.

    ``body`` is the one that it arrived with, where that is not the message's own.

    Not its tag: another message may have the same one later, and RabbitMQ's count from 1 in each connection.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    if opened_as := headers.get(OPENED_AS):
        return str(opened_as)
    digest = begin_digest(message)
    digest.update(bytes_of(message.body if body is None else body))
    return name_of(digest)


def begin_digest(message: Message) -> Any:
    """Begin the hash from which ``name_of`` makes the message's name; the body is still to be added."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    return hashlib.sha256(printable(headers.get("task")).encode() + bytes(1))


def name_of(digest: Any) -> str:
    """Return the name of a message by the hash of its content."""
    return f"message-{digest.hexdigest()}"


@dataclass(frozen=True)
class Envelope:
    """A message that is not opened yet, in the form in which it travels to the process that opens it.

    Attributes:
        key: under which its deaths are recorded. The task's id; without one, ``nameless``.
        body: the bytes that are to be opened; the whole message where ``is_whole``, as kombu's virtual
            transports write it.
        missing: bytes of the body that are not here.
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
    missing: int = 0

    def cut(self) -> Envelope:
        """Return the envelope with only the beginning of its body."""
        kept = self.body[:KEPT_BYTES]
        return replace(self, body=kept, missing=self.missing + len(self.body) - len(kept))

    def open(self) -> Any:
        """Parse, decompress and decode the message, any of which could kill a process; return the payload."""
        if self.missing:
            raise TooLarge(f"{self.missing} of its bytes were not received")
        body, content_type, compression = self.body, self.content_type, self.compression
        if self.is_whole:
            message = json.loads(body.decode())
            body = message["body"]
            if (message.get("properties") or {}).get("body_encoding") == "base64":
                body = base64.b64decode(body)
            content_type = message.get("content-type")
            compression = (message.get("headers") or {}).get("compression")
        if compression:
            body = decompress(body, compression)
        return read_json(body, content_type)


def envelope_of(message: Message) -> Envelope:
    """Return the message's envelope, for the process that opens it."""
    sealed: Envelope | None = getattr(message, "envelope", None)
    if sealed is not None:
        return sealed
    return envelope_around(message, message.body)


def envelope_around(
    message: Message, body: Any, compression: str | None = None, missing: int = 0, name: str = ""
) -> Envelope:
    """Return the envelope of a message that arrived with this body.

    ``name``: what stands for its id, if that was made of more than the body.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    is_bytes = isinstance(body, bytes)
    task_id, task_name = (printable(headers.get(part)) for part in ("id", "task"))
    return Envelope(
        key=task_id or name or nameless(message, body),
        task_id=task_id,
        task_name=task_name,
        queue=printable((message.delivery_info or {}).get("routing_key")),
        body=bytes_of(body),
        content_type=message.content_type,
        content_encoding=message.content_encoding if is_bytes else "utf-8",
        compression=compression,
        missing=missing,
    )


def bytes_of(body: Any) -> bytes:
    """Return a body as bytes, whatever type its transport gives it."""
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")


def unsealed(message: Message) -> Message:
    """Open the message here, to be handled; its acknowledgement acknowledges ``message``.

    Raises ``TooLarge``, and whatever is wrong with the message.
    """
    envelope = getattr(message, "envelope", None)
    if envelope is None:
        return message
    if envelope.missing:
        raise TooLarge(f"{envelope.missing} of its bytes were not received")
    opened: Message = message.unsealed()  # type: ignore[attr-defined]  # the transport's own
    return opened


def printable(value: Any) -> str:
    """Return a name or id of a message, cut; empty for a value that cannot be one."""
    return value[:255] if isinstance(value, str) and value.isprintable() else ""

"""Make kombu's message of each row of TAKE: junk becomes a message's body, a suspect stays sealed.

Other clients leave parts out, or write them in their own way: protocol 1, ``headers: null``, a number as
tag. Such parts are filled in here, before kombu and Celery meet them. An error here would end the worker,
and after it the next one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kombu.transport import virtual
from kombu.utils.json import loads

from worker.durable.decompression import opens_to_much
from worker.durable.deliveries import DELIVERIES, OPENED_ALONE_FROM, Envelope, name_of
from worker.durable.json_message import JsonMessage, has_too_many_parts

WAITED: Final = "waited"
"""Key in ``delivery_info`` of a message that has waited long enough, whatever its ``eta`` is."""


_MOST_DELIVERIES: Final = 2**31

Tag = str | bytes
"""Tag of a message. Bytes where it is no text: the server must get it as it is."""


@dataclass(frozen=True)
class Taken:
    """A row of TAKE's reply."""

    queue: str
    raw: bytes
    tag: Tag
    deliveries: int
    waited: bool
    task_id: str
    task_name: str
    missing: int
    """Number of bytes at the message's end that TAKE left out."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Taken:
        queue, raw, tag, before, waited, task_id, task_name, size = row
        name, own_id, own_name = (part.decode("utf-8", "replace") for part in (queue, task_id, task_name))
        missing = int(size) - len(raw)
        return cls(name, raw, _tag(tag), _count(before) + 1, waited == b"1", own_id, own_name, missing)


def _count(text: Any) -> int:
    """Read the server's count of deliveries, which may hold anything; 0 unless it is a number."""
    try:
        return min(max(int(text), 0), _MOST_DELIVERIES)
    except ValueError:
        return 0


def _tag(tag: bytes) -> Tag:
    try:
        return tag.decode()
    except UnicodeDecodeError:
        return tag


class DurableMessage(JsonMessage, virtual.Message):
    """kombu's message; ``envelope`` is there while it is sealed: see ``worker.durable.deliveries``."""

    _raw: Any

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        super().__init__(payload, channel=channel, **kwargs)
        envelope = payload.get("envelope")
        self.envelope: Envelope | None = envelope if isinstance(envelope, Envelope) else None

    def unsealed(self) -> DurableMessage:
        """Open the message here, under the same tag."""
        taken: Taken = self._raw["taken"]
        return DurableMessage(_opened(taken, self.channel), channel=self.channel, accept=self.accept)


def bytes_in(message: Any) -> int:
    """Return the length of a message's content, sealed or not."""
    envelope = getattr(message, "envelope", None)
    return len(message.body or b"") + (len(envelope.body) if envelope else 0)


def payload_of(taken: Taken, channel: Any) -> dict[str, Any]:
    """Return a message as kombu's channels pass it on, sealed if it is a suspect or unpacks to much."""
    if taken.deliveries >= OPENED_ALONE_FROM:
        return _sealed(taken)
    payload = _opened(taken, channel)
    return _sealed(_named(taken, payload)) if _opens_to_much(payload, channel) else payload


def _opens_to_much(payload: dict[str, Any], channel: Any) -> bool:
    kind = payload["headers"].get("compression")
    if not kind:
        return False
    encoding = payload["properties"].get("body_encoding")
    return opens_to_much(channel.decode_body(payload["body"], encoding), kind)


def _named(taken: Taken, payload: dict[str, Any]) -> Taken:
    """Add the id and name that TAKE gives for redelivered messages, so that its record keeps its name."""
    names = (payload["headers"].get(part) for part in ("id", "task"))
    task_id, task_name = (name if isinstance(name, str) else "" for name in names)
    return replace(taken, task_id=task_id, task_name=task_name)


def _sealed(taken: Taken) -> dict[str, Any]:
    envelope = Envelope(
        key=taken.task_id or _name_of(taken),
        task_id=taken.task_id,
        task_name=taken.task_name,
        queue=taken.queue,
        body=taken.raw,
        is_whole=True,
        missing=taken.missing,
    )
    return {**_wrapped(b"", taken), "envelope": envelope, "taken": taken}


def _name_of(taken: Taken) -> str:
    digest = hashlib.sha256(taken.raw)
    if taken.missing:
        # Two may begin alike.
        digest.update(taken.tag if isinstance(taken.tag, bytes) else taken.tag.encode())
    return name_of(digest)


def _opened(taken: Taken, channel: Any) -> dict[str, Any]:
    raw = taken.raw
    if has_too_many_parts(raw):
        return _wrapped(raw, taken)
    try:
        # kombu's own also turns marked objects into dates and the like, and takes three times as long.
        payload: Any = (loads if b"__type__" in raw else json.loads)(raw.decode())
        _mend(payload, taken)
        # Decode the body now, as it would fail when kombu makes its message.
        channel.decode_body(payload["body"], payload["properties"].get("body_encoding"))
    # Whatever is wrong with it.
    except Exception:  # noqa: BLE001
        return _wrapped(raw, taken)
    return payload  # type: ignore[no-any-return]


def _mend(payload: Any, taken: Taken) -> None:
    """Fill in a message's optional parts. Raises various errors if it is no message of kombu's."""
    properties = payload["properties"]
    headers = payload["headers"] = payload.get("headers") or {}
    info = properties.get("delivery_info") or {}
    if not (isinstance(payload["body"], str) and isinstance(headers, dict) and isinstance(info, dict)):
        raise TypeError("not a message of kombu's")
    # A stock worker that put it back left a mark and no count.
    came_back = bool(info.get("redelivered") or headers.get("redelivered"))
    deliveries = max(taken.deliveries, 2 if came_back else 1)
    properties["delivery_tag"] = taken.tag
    # By the queue that it was in, not by its own words: its copies are to go there.
    properties["delivery_info"] = _way(taken, deliveries)
    if deliveries > 1:
        headers["redelivered"] = True


def _way(taken: Taken, deliveries: int) -> dict[str, Any]:
    way = {"exchange": "", "routing_key": taken.queue, DELIVERIES: deliveries, WAITED: taken.waited}
    return {**way, "redelivered": True} if deliveries > 1 else way


def _wrapped(raw: bytes, taken: Taken) -> dict[str, Any]:
    """Make a message whose body is ``raw``."""
    info = _way(taken, taken.deliveries)
    return {
        "body": base64.b64encode(raw).decode(),
        "content-type": "application/data",
        "content-encoding": "binary",
        "headers": {"redelivered": True} if taken.deliveries > 1 else {},
        "properties": {"body_encoding": "base64", "delivery_tag": taken.tag, "delivery_info": info},
    }

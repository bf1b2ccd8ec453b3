"""Make kombu's message of what TAKE brings: what is none becomes the body of one, a suspect stays sealed.

Other clients leave parts out, or write them in their own way: protocol 1, ``headers: null``, a number as
tag. What kombu and Celery would run after that is mended here. An error here would end the worker, and after
it the next one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kombu.transport import virtual
from kombu.utils.json import loads

from worker.deliveries import DELIVERIES, OPENED_ALONE_FROM, Envelope, name_of

WAITED: Final = "waited"
"""The key in ``delivery_info`` of a message whose time has come, whatever a clock says of its ``eta``."""


@dataclass(frozen=True)
class Taken:
    """A row of TAKE's reply."""

    queue: str
    raw: bytes
    tag: str
    deliveries: int
    waited: bool
    task_id: str
    task_name: str
    missing: int
    """Bytes at its end that were not brought."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Taken:
        queue, raw, tag, before, waited, task_id, task_name, size = row
        texts = (part.decode("utf-8", "replace") for part in (queue, tag, task_id, task_name))
        name, own_tag, own_id, own_name = texts
        missing = int(size) - len(raw)
        return cls(name, raw, own_tag, int(before) + 1, waited == b"1", own_id, own_name, missing)


class DurableMessage(virtual.Message):
    """kombu's message; ``envelope`` is there while it is sealed: see ``worker.deliveries``."""

    _raw: Any

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        super().__init__(payload, channel=channel, **kwargs)
        envelope = payload.get("envelope")
        self.envelope: Envelope | None = envelope if isinstance(envelope, Envelope) else None

    def unsealed(self) -> DurableMessage:
        """Open it here, under the same tag."""
        taken: Taken = self._raw["taken"]
        return DurableMessage(_opened(taken, self.channel), channel=self.channel, accept=self.accept)


def payload_of(taken: Taken, channel: Any) -> dict[str, Any]:
    """The message as kombu's channels pass it on."""
    return _sealed(taken) if taken.deliveries >= OPENED_ALONE_FROM else _opened(taken, channel)


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
        digest.update(taken.tag.encode())
    return name_of(digest)


def _opened(taken: Taken, channel: Any) -> dict[str, Any]:
    raw = taken.raw
    try:
        # kombu's own also turns marked objects into dates and the like, and takes three times as long.
        payload: Any = (loads if b"__type__" in raw else json.loads)(raw.decode())
        _mend(payload, taken)
        # What would fail when kombu makes its message of it.
        channel.decode_body(payload["body"], payload["properties"].get("body_encoding"))
    # Whatever is wrong with it.
    except Exception:  # noqa: BLE001
        return _wrapped(raw, taken)
    return payload  # type: ignore[no-any-return]


def _mend(payload: Any, taken: Taken) -> None:
    """Fill in what is optional. Raises what a thing that is no message raises."""
    properties = payload["properties"]
    headers = payload["headers"] = payload.get("headers") or {}
    info = properties["delivery_info"] = properties.get("delivery_info") or {}
    if not (isinstance(payload["body"], str) and isinstance(headers, dict) and isinstance(info, dict)):
        raise TypeError("not a message of kombu's")
    properties["delivery_tag"] = taken.tag
    info.setdefault("exchange", "")
    info.setdefault("routing_key", taken.queue)
    # A stock worker that put it back left a mark and no count.
    came_back = bool(info.get("redelivered") or headers.get("redelivered"))
    info[DELIVERIES] = max(taken.deliveries, 2 if came_back else 1)
    info[WAITED] = taken.waited
    if info[DELIVERIES] > 1:
        headers["redelivered"] = info["redelivered"] = True


def _wrapped(raw: bytes, taken: Taken) -> dict[str, Any]:
    """A message whose body is ``raw``."""
    info = {
        "exchange": "",
        "routing_key": taken.queue,
        DELIVERIES: taken.deliveries,
        "redelivered": taken.deliveries > 1,
    }
    return {
        "body": base64.b64encode(raw).decode(),
        "content-type": "application/data",
        "content-encoding": "binary",
        "headers": {"redelivered": True} if taken.deliveries > 1 else {},
        "properties": {"body_encoding": "base64", "delivery_tag": taken.tag, "delivery_info": info},
    }

"""Messages that never reach a command: junk, unknown names, bodies that no child can read.

The worker's main process buries them, with their bytes as they came.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from kombu.message import Message

from worker import metrics
from worker.db.dead_letters import DeadLetterStore
from worker.deliveries import bytes_of, nameless
from worker.errors import as_ours

_UNKNOWN: Final = "(unknown)"
_PARTS: Final = 3
"""Of a body of protocol 2."""
_MOST_READ: Final = 4 * 1024 * 1024
"""Bytes. As Python's objects, and on the way to Postgres, a body takes many times its size; the main process
of a worker may have less than that. A longer one is kept as it came, without being read."""


def bury_message(message: Message, error: BaseException) -> None:
    """Keep the message as a dead letter; may be repeated. Raises ``DatabaseUnavailable``."""
    body = bytes_of(message.body)
    payload = _payload(body)
    DeadLetterStore().bury(
        task_id=message_id(message, payload) or nameless(message),
        task_name=_part(message, payload, "task") or _UNKNOWN,
        queue=_name((message.delivery_info or {}).get("routing_key")) or _UNKNOWN,
        arguments=arguments_in(payload),
        body=body,
        error=as_ours(error),
        attempts=1,
    )
    # Whatever name it has: it is none of ours, or it could not be read.
    metrics.message_buried("unreadable")


def message_id(message: Message, payload: Any = None) -> str:
    """The task's id; empty if the message has none that could be one."""
    return _part(message, payload, "id")


def arguments_in(payload: Any) -> str | None:
    """The arguments as JSON text, if the payload is a well-formed one of Celery's message protocols."""
    if isinstance(payload, dict) and "task" in payload:
        args, kwargs = payload.get("args", []), payload.get("kwargs", {})
    elif isinstance(payload, list) and len(payload) == _PARTS:
        args, kwargs, _embed = payload
    else:
        return None
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    return json.dumps({"args": args, "kwargs": kwargs})


def _part(message: Message, payload: Any, name: str) -> str:
    """Of the headers; protocol 1 has it in the body."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    return _name(headers.get(name)) or _name(payload.get(name) if isinstance(payload, dict) else None)


def _name(value: Any) -> str:
    return value[:255] if isinstance(value, str) and value.isprintable() else ""


def _payload(body: bytes) -> Any:
    if len(body) > _MOST_READ:
        return None
    # Read for its name and arguments, if it can be; what it cost the reader is no reason to keep no letter.
    with suppress(ValueError, RecursionError, MemoryError):
        return json.loads(body)
    return None

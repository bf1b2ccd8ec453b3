"""Messages that never reach a command: junk, unknown names, bodies that no child can read.

The worker's main process buries them, with their bytes as they came.
"""

from __future__ import annotations

import json
from typing import Any, Final

from kombu.message import Message

from worker import metrics
from worker.db.dead_letters import DeadLetterStore
from worker.deliveries import bytes_of, key_of
from worker.errors import as_ours

_UNKNOWN: Final = "(unknown)"


def bury_message(message: Message, error: BaseException) -> None:
    """Keep the message as a dead letter; may be repeated. Raises ``DatabaseUnavailable``."""
    DeadLetterStore().bury(
        task_id=key_of(message, message.body),
        task_name=_header(message, "task") or _UNKNOWN,
        queue=(message.delivery_info or {}).get("routing_key") or _UNKNOWN,
        arguments=_arguments(message.body),
        body=bytes_of(message.body),
        error=as_ours(error),
        attempts=1,
    )
    # Whatever name it has: it is none of ours, or it could not be read.
    metrics.message_buried("unreadable")


def message_id(message: Message) -> str:
    """The task's id; empty if the message has none that could be one."""
    return _header(message, "id")


def _header(message: Message, name: str) -> str:
    headers = message.headers if isinstance(message.headers, dict) else {}
    value = headers.get(name)
    return value[:255] if isinstance(value, str) and value.isprintable() else ""


def _arguments(body: Any) -> str | None:
    """The arguments as JSON text, if the body is a well-formed one (Celery's message protocol 2)."""
    try:
        args, kwargs, _embed = json.loads(bytes_of(body))
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return None
    return json.dumps({"args": args, "kwargs": kwargs})

"""Read a message of the fast lane, or find that it is not plain. Pure: bytes in, a command's parts out."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from threadsync.broker.clocks import SENT_AT
from worker.durable.admission import MOST_NESTED, is_name, is_number

_JSON: Final = "application/json"
_FOLLOWERS: Final = frozenset({"callbacks", "errbacks", "chain", "chord"})
_MARK: Final = b"__type__"
"""Key of what kombu writes in place of dates and the like."""


class Plain(NamedTuple):
    """The parts of a plain message of Celery's protocol 2."""

    task_id: str
    name: str
    kwargs: dict[str, Any]
    headers: Mapping[str, Any]

    @property
    def is_answered(self) -> bool:
        """Return True if a result is to be stored."""
        return not self.headers.get("ignore_result")


def read_plain(raw: bytes) -> Plain | None:
    """Return the parts of a message, or None if it is to take the ordinary road."""
    try:
        return _read(raw)
    # Whatever is wrong with it: the ordinary road says so.
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _read(raw: bytes) -> Plain | None:
    message = json.loads(raw)
    headers, properties = message["headers"], message["properties"]
    is_json = message["content-type"] == _JSON and properties["body_encoding"] == "base64"
    if not is_json or properties["delivery_info"].get("redelivered") or not _is_plain(headers):
        return None
    body = b64decode(message["body"], validate=True)
    if _MARK in body or body.count(b"[") + body.count(b"{") > MOST_NESTED:
        return None
    args, kwargs, embed = json.loads(body)
    if args or not isinstance(kwargs, dict) or embed.keys() - _FOLLOWERS or any(embed.values()):
        return None
    return Plain(headers["id"], headers["task"], kwargs, headers)


def _is_plain(headers: Mapping[str, Any]) -> bool:
    task_id = headers["id"]
    if not is_name(task_id) or headers["root_id"] not in (task_id, None):
        return False
    return all(name in _PLAIN and _PLAIN[name](value) for name, value in headers.items())


def _is_nothing(value: Any) -> bool:
    return not value


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_yes_or_no(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_without_limits(value: Any) -> bool:
    return not value or not any(value)


_PLAIN: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("task", "id", "root_id", "lang", "origin", "argsrepr", "kwargsrepr"), _is_text),
    # Read only where traces are made, and then the lane is closed.
    **dict.fromkeys(("traceparent", "tracestate", "baggage"), _is_text),
    **dict.fromkeys(("shadow", "eta", "expires", "retries", "parent_id"), _is_nothing),
    **dict.fromkeys(("group", "group_index", "replaced_task_nesting"), _is_nothing),
    **dict.fromkeys(("stamped_headers", "stamps"), _is_nothing),
    "timelimit": _is_without_limits,
    "ignore_result": _is_yes_or_no,
    SENT_AT: is_number,
}
"""The headers of a plain message, and the check of each value. Any other one has a meaning to somebody."""

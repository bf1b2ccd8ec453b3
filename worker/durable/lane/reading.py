"""Read a message of the fast lane, or find that it is not plain. Pure: bytes in, a command's parts out."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from threadsync.broker.clocks import SENT_AT
from worker.durable.admission import MOST_NESTED, is_name, is_number

_JSON: Final = "application/json"
_FOLLOWERS: Final = frozenset({"callbacks", "errbacks", "chain", "chord"})
_MARK: Final = b"__type__"
"""Key of what kombu writes in place of dates and the like."""


class Plain(NamedTuple):
    """The parts of a plain message of Celery's protocol 2: of its headers those that are read later."""

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
    message = _parsed(raw)
    headers, properties = message["headers"], message["properties"]
    is_json = message["content-type"] == _JSON and properties["body_encoding"] == "base64"
    if not is_json or properties["delivery_info"].get("redelivered") or not _is_plain(headers):
        return None
    body = a2b_base64(message["body"], strict_mode=True)
    if _MARK in body or body.count(b"[") + body.count(b"{") > MOST_NESTED:
        return None
    args, kwargs, embed = _parsed(body)
    if args or not isinstance(kwargs, dict) or embed.keys() - _FOLLOWERS or any(embed.values()):
        return None
    told = {name: headers[name] for name in _READ_LATER if name in headers}
    return Plain(headers["id"], headers["task"], kwargs, told)


def _parsed(text: bytes) -> Any:
    """Parse JSON; what this parser refuses, such as half of a surrogate pair, Python's own may accept."""
    # Half the time of ``json``'s. Values of people are not kept in its cache of strings.
    return from_json(text, cache_strings="keys")


def _is_plain(headers: Mapping[str, Any]) -> bool:
    """Return True if no header says how, when or why else the command is to be run."""
    task_id, limits = headers["id"], headers.get("timelimit")
    return (
        is_name(task_id)
        and is_name(headers["task"])
        and headers["root_id"] in (task_id, None)
        and _KNOWN.issuperset(headers)
        and not any(map(headers.get, _NOTHING))
        and not (limits and any(limits))
        and headers.get("ignore_result") in (None, False, True)
        and is_number(headers.get(SENT_AT, 0))
    )


_NOTHING: Final = (
    *("shadow", "eta", "expires", "retries", "parent_id", "group", "group_index"),
    *("replaced_task_nesting", "stamped_headers", "stamps"),
)
"""Headers that a plain message leaves empty, if it has them."""

_TOLD: Final = ("task", "id", "root_id", "lang", "origin", "argsrepr", "kwargsrepr")
_OF_TRACES: Final = ("traceparent", "tracestate", "baggage")
"""Headers that are read only where traces are made, and then the lane is closed."""

_READ_LATER: Final = ("root_id", "argsrepr", "kwargsrepr", "ignore_result", SENT_AT)
"""All others would take up more of a child's memory than the rest of a command."""

_KNOWN: Final = frozenset({*_NOTHING, *_TOLD, *_OF_TRACES, "timelimit", "ignore_result", SENT_AT})

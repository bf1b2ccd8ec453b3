"""Decide which parts of a message Celery may read: any program that may write to the broker wrote it.

Celery takes each part for what its own clients write, in dozens of places. Here they are looked at first
(ADR 20):

* What decides whether, when, with what and with what to follow a command is run must be readable: its name,
  arguments, ``eta``, ``expires``, callbacks, chain and chord; content that is JSON
  (``worker.durable.json_message``) and nested no deeper than ``MOST_NESTED``. Else the message is a dead
  letter.
* What is only told of it is left out where it is not what it should be: ids of other tasks, representations,
  origin, a history of pauses, traces.
* What is the worker's to say, and no sender's, is left out: limits of time, stamps, and whatever else has a
  name that means something to Celery's request.

The message is changed in place; after it no part of it has a type that Celery does not expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

from celery.app.task import Context
from kombu.message import Message
from pydantic import ValidationError

from threadsync.errors import CommandFailed
from threadsync.patch import depth_of
from worker.durable.raw_message import WAITED
from worker.durable.retry_policy import HEADER, History

LONGEST_ETA_SECONDS: Final = 86_400
"""Farthest due time; a later message is no command of ours, as long waits are rows in Postgres."""

FARTHEST_EXPIRY_SECONDS: Final = 20 * 86_400
"""A message that expires later does not expire: RabbitMQ counts milliseconds in 32 bits."""

MOST_NESTED: Final = 200
"""Most lists within lists: reading them, or handing them to another process, is recursive."""

NO_SUCH_TASK: Final = "no task of this name here; a newer release may have sent it"

_NOT_BY_MESSAGE: Final = frozenset(
    f"celery.{name}" for name in ("chord_unlock", "chord", "group", "chain", "chunks", "map", "starmap")
)
"""Celery's own tasks that send themselves again without end, or run others in their place."""

_LONGEST_NAME: Final = 255
_LONGEST_TEXT: Final = 4096
_HIGHEST_PRIORITY: Final = 255
_MOST_NESTED_HEADER: Final = 20
_PARTS: Final = 3
_FOLLOWERS: Final = ("callbacks", "errbacks", "chain")
_MOST_FOLLOWERS: Final = 100
_NOT_FOR_FOLLOWERS: Final = frozenset(
    {"confirm_timeout", "connection", "declare", "producer", "publisher", "retry", "retry_policy", "timeout"}
)
"""Options that say how a worker sends. By a time-out of a message's own choice it would never be sent."""

_Check = Callable[[Any], bool]


def is_name(value: Any) -> bool:
    """Return True for a text that may be a name or an id."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def is_number(value: Any) -> bool:
    """Return True for a number that a clock may show."""
    if isinstance(value, int):
        # An integer of hundreds of digits is no clock's, and fits into no float.
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _is_yes_or_no(value: Any) -> bool:
    return isinstance(value, bool)


def _fits_in_a_header(value: Any) -> bool:
    return depth_of(value, _MOST_NESTED_HEADER) <= _MOST_NESTED_HEADER


def _is_history(value: Any) -> bool:
    try:
        History.model_validate(value)
    except ValidationError:
        return False
    # Further members travel on with it.
    return isinstance(value, dict) and _fits_in_a_header(value)


_TOLD: Final[Mapping[str, _Check]] = {
    **dict.fromkeys(("id", "root_id", "parent_id", "group", "lang", "meth", "origin"), is_name),
    **dict.fromkeys(("argsrepr", "kwargsrepr", "traceparent", "tracestate", "baggage"), _is_text),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting", "x-delivery-count"), _is_count),
    "sent_at": is_number,
    "redelivered": _is_yes_or_no,
    "ignore_result": _is_yes_or_no,
    "utc": _is_yes_or_no,
    HEADER: _is_history,
}
"""The headers that a message may have, and the check of each value."""

_OURS_TO_SAY: Final = (
    frozenset({*dir(Context), "compression", "shadow", "x-death"}) - _TOLD.keys() - {"eta", "expires"}
)
"""Names with a meaning to Celery's request or to the broker, which no sender may choose."""

_NOT_TO_FOLLOW: Final = (_OURS_TO_SAY | _TOLD.keys()) - {"chord", *_FOLLOWERS}
"""Names that Celery would take from the third part of a body of protocol 2 for headers."""

_IN_THE_BODY: Final = frozenset({"task", "args", "kwargs", "eta", "expires", "chord", *_FOLLOWERS})
_TOLD_IN_THE_BODY: Final = frozenset(_TOLD) - {HEADER, "sent_at", "redelivered", "x-delivery-count"}


def admit(message: Message, tasks: Container[str]) -> None:
    """Remove from a message what Celery must not read. Raises ``CommandFailed`` where it is no task.

    Also raises what parsing raises. ``tasks``: the names that there are.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    if is_name(headers.get("task")) and headers["task"] not in tasks:
        # Checked before parsing, which may take much memory.
        raise CommandFailed(NO_SUCH_TASK)
    _see_content(message)
    payload = message.payload
    # Headers of protocol 2 may come with a body of protocol 1; then Celery looks in both.
    places = [place for place in (headers, payload) if isinstance(place, dict)]
    task = next((place["task"] for place in places if "task" in place), None)
    if not is_name(task):
        raise CommandFailed("not a Celery task message")
    if task in _NOT_BY_MESSAGE:
        raise CommandFailed(f"{task} is not run here: it runs other tasks, or itself without end")
    _see_followers(_see_arguments(payload, "task" in headers))
    waited = bool((message.delivery_info or {}).get(WAITED))
    for place in places:
        _see_moments(place, waited=waited)
    if isinstance(payload, dict):
        _keep(payload, _may_stay_in_the_body)
    _keep(headers, _may_stay)
    if "task" in headers or "args" in payload:
        # Celery asks for it there. Without one the message gets a name: worker/durable/request.py.
        asked: dict[str, Any] = headers if "task" in headers else payload
        asked.setdefault("id", None)
    message.headers = headers
    message.properties = _properties(message.properties)


def _see_content(message: Message) -> None:
    # JSON is UTF-8 whatever is said of it.
    message.content_encoding = "utf-8"
    body: Any = message.body or b""
    brackets: tuple[Any, ...] = ("[", "{") if isinstance(body, str) else (b"[", b"{")
    # Most have a dozen brackets in all: then there is nothing to be looked for.
    opened = sum(body.count(bracket) for bracket in brackets)
    if opened > MOST_NESTED and depth_of(message.payload, MOST_NESTED) > MOST_NESTED:
        raise CommandFailed(f"content nested deeper than {MOST_NESTED}")


def _see_arguments(payload: Any, has_headers: bool) -> Mapping[str, Any]:
    """Check the arguments; return the mapping that holds what is to follow, by the message's protocol."""
    if isinstance(payload, dict) and ("args" in payload or not has_headers):
        _see_pair(payload.get("args", []), payload.get("kwargs", {}))
        return payload
    if not isinstance(payload, list) or len(payload) != _PARTS:
        raise CommandFailed("the body cannot be unpacked into arguments, keyword arguments and what follows")
    args, kwargs, embed = payload
    _see_pair(args, kwargs)
    if embed is not None and not isinstance(embed, dict):
        raise CommandFailed("what is to follow must be a JSON object")
    if unknown := (embed or {}).keys() & _NOT_TO_FOLLOW:
        raise CommandFailed(f"what is to follow must not say {', '.join(sorted(unknown))}")
    return embed or {}


def _see_pair(args: Any, kwargs: Any) -> None:
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise CommandFailed("arguments must be a JSON array, keyword arguments a JSON object")


def _see_followers(follows: Mapping[str, Any]) -> None:
    for name in _FOLLOWERS:
        found = follows.get(name)
        if found is None:
            continue
        if not isinstance(found, list) or len(found) > _MOST_FOLLOWERS or not all(map(_is_signature, found)):
            raise CommandFailed(f"{name}: not a list of tasks")
    chord = follows.get("chord")
    if chord is not None and not _is_signature(chord):
        raise CommandFailed("chord: not a task")


def _is_signature(value: Any) -> bool:
    """Return True for Celery's description of a task to send, without options that say how."""
    if not isinstance(value, dict) or not is_name(value.get("task")) or _says_how_to_send(value):
        return False
    options = value.get("options") or {}
    return (
        isinstance(value.get("args") or [], list)
        and isinstance(value.get("kwargs") or {}, dict)
        and isinstance(options, dict)
        and all(is_name(options[name]) for name in ("queue", "task_id", "routing_key") if options.get(name))
    )


def _says_how_to_send(signature: Any) -> bool:
    """Return True if a signature, or one inside it, has options that say how to send."""
    level = [signature]
    while level:
        found = [each for each in level if isinstance(each, dict)]
        if any(_NOT_FOR_FOLLOWERS & options.keys() for options in map(_options, found)):
            return True
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, list | dict)
        ]
    return False


def _options(value: dict[str, Any]) -> dict[str, Any]:
    options = value.get("options")
    return options if isinstance(options, dict) else {}


def _see_moments(fields: dict[str, Any], *, waited: bool) -> None:
    now = datetime.now(UTC)
    for name in ("eta", "expires"):
        if fields.get(name) is None:
            fields.pop(name, None)
            continue
        moment = _moment(name, fields[name])
        ahead = (moment - now).total_seconds()
        if name == "eta" and ahead > LONGEST_ETA_SECONDS and not waited:
            raise CommandFailed("invalid ETA value: due in more than a day")
        if ahead <= 0 if name == "eta" else ahead > FARTHEST_EXPIRY_SECONDS:
            del fields[name]
        else:
            fields[name] = moment.isoformat()


def _moment(name: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise CommandFailed(f"invalid {'ETA' if name == 'eta' else name} value: not a moment")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _keep(where: dict[str, Any], wanted: Callable[[Any, Any], bool]) -> None:
    for name in [name for name, value in where.items() if not wanted(name, value)]:
        del where[name]


def _may_stay(name: Any, value: Any) -> bool:
    if not is_name(name) or name in _OURS_TO_SAY:
        return False
    check = _TOLD.get(name)
    # Headers of other software travel on with messages that a command sends.
    return check(value) if check else _fits_in_a_header(value)


def _may_stay_in_the_body(name: Any, value: Any) -> bool:
    return name in _IN_THE_BODY or (name in _TOLD_IN_THE_BODY and _TOLD[name](value))


def _properties(properties: Any) -> dict[str, Any]:
    """Return the properties that a copy of the message, or a result, may have."""
    found = properties if isinstance(properties, dict) else {}
    kept = {name: found[name] for name in ("correlation_id", "reply_to") if is_name(found.get(name))}
    kept |= {name: found[name] for name in ("content_type", "content_encoding") if is_name(found.get(name))}
    priority = found.get("priority")
    if _is_count(priority) and priority <= _HIGHEST_PRIORITY:
        kept["priority"] = priority
    return kept

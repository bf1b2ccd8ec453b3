"""Check the heartbeats in the broker: any program that may write there could have written them.

What passes has the members that its kind has, of the right types; ``at`` and ``since`` are moments before
now. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

CANARY: Final = "canary:"
WORKER: Final = "worker:"
SOCKET: Final = "socket:"
PLACE: Final = "place:"
BEAT: Final = "beat"
SPOILT: Final = "spoilt"
"""The field that counts removed fields that were no heartbeats."""

MOST_AHEAD_SECONDS: Final = 60.0
"""Most seconds by which a clock may be behind, set back or another server's after a failover."""

LONGEST_HEARTBEAT: Final = 16_384
_LARGEST: Final = 1e12
_NAME: Final = re.compile(r"[!-~]{1,255}", re.ASCII)

Heartbeat = Mapping[str, Any]


def read_fields(now: float, fields: Iterable[tuple[bytes | str, Any]]) -> tuple[dict[str, Heartbeat], int]:
    """Return the heartbeats by field, and the number of fields that hold none.

    Args:
        fields: names, and JSON or what was read of it.
    """
    found: dict[str, Heartbeat] = {}
    unreadable = 0
    for field, told in fields:
        name, heartbeat = _text(field), _heartbeat(now, told)
        if name is None or heartbeat is None or not _is_of_its_kind(name, heartbeat):
            unreadable += 1
        elif name == SPOILT:
            unreadable += int(heartbeat["count"])
        else:
            found[name] = heartbeat
    return found, unreadable


def freshest(heartbeats: Mapping[str, Any], most: int, age: Callable[[Any], float]) -> dict[str, Any]:
    """Return the ``most`` youngest heartbeats."""
    if len(heartbeats) <= most:
        return dict(heartbeats)
    return dict(sorted(heartbeats.items(), key=lambda item: age(item[1]))[:most])


def is_number(value: Any) -> bool:
    """Return True for a number that a clock or a counter may show."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and -_LARGEST < value < _LARGEST and math.isfinite(value)


def _text(field: bytes | str) -> str | None:
    try:
        name = field if isinstance(field, str) else field.decode("ascii")
    except UnicodeDecodeError:
        return None
    return name if _NAME.fullmatch(name) else None


def _heartbeat(now: float, told: Any) -> Heartbeat | None:
    if isinstance(told, bytes | str):
        try:
            told = json.loads(told) if len(told) <= LONGEST_HEARTBEAT else None
        except (ValueError, RecursionError):
            return None
    if not isinstance(told, dict) or not is_number(told.get("at")):
        return None
    if told["at"] > now + MOST_AHEAD_SECONDS:
        return None
    at = min(told["at"], now)
    since = told.get("since", at)
    return {**told, "at": at, "since": min(since, at)} if is_number(since) else None


def _is_of_its_kind(name: str, heartbeat: Heartbeat) -> bool:
    kind = name.partition(":")[0] + ":" if ":" in name else name
    holds = _KINDS.get(kind)
    return holds is not None and (kind == name or len(name) > len(kind)) and holds(heartbeat)


def _is_worker(heartbeat: Heartbeat) -> bool:
    # Lua makes an object of an empty list.
    queues = heartbeat.get("queues") or []
    return (
        isinstance(queues, list)
        and all(map(_is_use, queues))
        and _may_be_number(heartbeat, "skew")
        and (heartbeat.get("held") is None or _has_amount(heartbeat, "held"))
    )


def _is_use(use: Any) -> bool:
    return (
        isinstance(use, dict)
        and isinstance(use.get("queue"), str)
        and _NAME.fullmatch(use["queue"]) is not None
        # Before now: one in the future would be fresh for ever.
        and all(_may_be_number(use, what) and (use.get(what) or 0) >= 0 for what in ("asked", "ended"))
    )


def _is_place(heartbeat: Heartbeat) -> bool:
    database = heartbeat.get("database")
    is_name = isinstance(database, str) and _NAME.fullmatch(database) is not None
    return is_name and _may_be_number(heartbeat, "skew")


def _has_amount(heartbeat: Heartbeat, name: str) -> bool:
    return is_number(heartbeat.get(name)) and heartbeat[name] >= 0


def _may_be_number(heartbeat: Heartbeat, name: str) -> bool:
    return heartbeat.get(name) is None or is_number(heartbeat[name])


_KINDS: Final[Mapping[str, Callable[[Heartbeat], bool]]] = {
    CANARY: lambda canary: _may_be_number(canary, "sent_at"),
    WORKER: _is_worker,
    SOCKET: lambda socket: _has_amount(socket, "silence"),
    PLACE: _is_place,
    BEAT: lambda beat: _may_be_number(beat, "skew") and _may_be_number(beat, "clock"),
    SPOILT: lambda spoilt: _has_amount(spoilt, "count"),
}

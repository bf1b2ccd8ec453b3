"""What became of a call to Slack. Pure: from status, headers and body to what it means for the message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_LONGEST_WAIT_SECONDS: Final = 3600.0
_USUAL_WAIT_SECONDS: Final = 30.0

# Slack's own words: "some aspect of the operation may have succeeded".
_UNCLEAR: Final = frozenset(
    {"fatal_error", "internal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_THROTTLING: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})


@dataclass(frozen=True, slots=True)
class Done:
    """``ok: true``, with the whole answer."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Slack did nothing, and will not next time; ``error`` is its name for the reason."""

    error: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Slack did nothing, and wants to be left alone for ``retry_after`` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing reached Slack."""

    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been done, or may yet be."""

    why: str


Failure = Refused | Throttled | NotSent | Unknown
Answer = Done | Failure


def read(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """What an answer of Slack's Web API means. ``headers`` are looked up as they are spelt here."""
    if status == 429:
        return Throttled(_seconds(headers.get("Retry-After")))
    if status != 200:
        return Unknown(f"HTTP {status}")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Unknown("an answer that is no JSON")
    if not isinstance(body, dict):
        return Unknown("an answer that is no JSON object")
    if body.get("ok") is True:
        return Done(body)
    error = body.get("error")
    if not isinstance(error, str) or error in _UNCLEAR:
        return Unknown(str(error)[:100])
    return Throttled(_seconds(headers.get("Retry-After"))) if error in _THROTTLING else Refused(error[:100])


def _seconds(text: str | None) -> float:
    if text is None or not text.strip().isdecimal():
        return _USUAL_WAIT_SECONDS
    return min(max(float(text), 1.0), _LONGEST_WAIT_SECONDS)

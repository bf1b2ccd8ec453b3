"""Classify a response of Slack's Web API. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from worker.http_once import NotSent, Unknown
from worker.text.slack_errors import THROTTLING, UNCLEAR

MOST_BYTES: Final = 8_388_608
"""Limit of a response; 200 messages with their blocks are far below."""

_LONGEST_WAIT_SECONDS: Final = 3600.0
_USUAL_WAIT_SECONDS: Final = 30.0

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Done:
    """Success, ``ok: true``, with the whole response."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Refusal that a repetition would meet again; ``error`` is Slack's name for the reason."""

    error: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Refusal with a request for a pause of ``retry_after`` seconds."""

    retry_after: float


Failure = Refused | Throttled | NotSent | Unknown
Answer = Done | Failure


def read(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Classify a response. ``headers`` are looked up as they are spelt here."""
    if status == 429:
        return Throttled(_seconds(headers.get("Retry-After")))
    # A proxy or a firewall answers with a page; a refusal of Slack's own is JSON, whatever its status is.
    if status != 200 and not 400 <= status < 500:
        return Unknown(f"HTTP {status}")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Unknown("an answer that is no JSON" if status == 200 else f"HTTP {status}")
    if not isinstance(body, dict):
        return Unknown("an answer that is no JSON object")
    if body.get("ok") is True and status == 200:
        return Done(body)
    error = body.get("error")
    if body.get("ok") is not False or not _is_name(error) or error in UNCLEAR:
        return Unknown(_shortened(error) if status == 200 else f"HTTP {status}")
    return Throttled(_seconds(headers.get("Retry-After"))) if error in THROTTLING else Refused(error)


def pause_of(headers: Mapping[str, str]) -> float:
    """Return the seconds for which a 429 asks to wait. ``headers`` are looked up as they are spelt here."""
    return _seconds(headers.get("Retry-After"))


def _is_name(error: Any) -> TypeGuard[str]:
    """Return True for an error's name that may be shown, logged and kept, such as ``channel_not_found``."""
    return isinstance(error, str) and _NAME.fullmatch(error) is not None


def _shortened(error: Any) -> str:
    return error if _is_name(error) else "an answer without a reason"


def _seconds(text: str | None) -> float:
    if text is None or not text.strip().isdecimal():
        return _USUAL_WAIT_SECONDS
    return min(max(float(text), 1.0), _LONGEST_WAIT_SECONDS)

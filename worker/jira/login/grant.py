"""Access tokens of OAuth 2, as a token server grants them. Pure: tested as a table.

`expires_in` counts by the monotonic clock from the moment before the token was asked for: no clock of
another machine, and no change of ours, makes a token look alive that is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from worker.http_once import HttpResponse, NotSent, Unknown
from worker.jira.answers import AuthProblem, Throttled
from worker.jira.classification import json_object, trace_id
from worker.jira.pauses import pause

RENEWED_AT: Final = 0.8
"""Share of a token's life after which it is renewed."""

LONGEST_LIFE_SECONDS: Final = 86_400.0
"""Longest life that is believed; Atlassian's tokens live an hour."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_REFUSALS: Final = frozenset({400, 401, 403})

Refusal = AuthProblem | Throttled | NotSent


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token. ``asked_at`` is the monotonic time at which it was asked for; ``life`` in seconds."""

    token: str = field(repr=False)
    asked_at: float
    life: float
    scopes: frozenset[str] = frozenset()

    def is_due(self, now: float) -> bool:
        """Return True if it is time for another one."""
        return now >= self.asked_at + RENEWED_AT * self.life

    def is_over(self, now: float) -> bool:
        """Return True if Jira no longer takes it."""
        return now >= self.asked_at + self.life


def read_grant(answer: HttpResponse | NotSent | Unknown, asked_at: float, now: datetime) -> Grant | Refusal:
    """Read the token server's response. Nothing of it is quoted: it may hold the token."""
    if not isinstance(answer, HttpResponse):
        # That nobody knows what became of the question does no harm: another token may be asked for.
        return NotSent(f"no access token for Jira: {answer.why}")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    trace = trace_id(headers)
    if answer.status == 429:
        return Throttled(pause(headers, now), None, "the token server has too many requests", trace_id=trace)
    if answer.status in _REFUSALS and json_object(answer.content) is not None:
        why = f"the token server does not accept the OAuth client ({answer.status})"
        return AuthProblem(answer.status, why, (), trace)
    content = json_object(answer.content) if answer.status == 200 else None
    if content is None:
        return NotSent(f"no access token for Jira: the token server answered {answer.status}", None, trace)
    return _grant_in(content, asked_at) or NotSent(
        "no access token for Jira: the token server's response is not as documented", None, trace
    )


def _grant_in(content: Mapping[str, Any], asked_at: float) -> Grant | None:
    token, life, kind = (content.get(name) for name in ("access_token", "expires_in", "token_type"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    if not isinstance(kind or "Bearer", str) or str(kind or "Bearer").casefold() != "bearer":
        return None
    seconds = _seconds(life)
    if seconds is None:
        return None
    scope = content.get("scope")
    scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
    return Grant(token, asked_at, min(seconds, LONGEST_LIFE_SECONDS), scopes)


def _seconds(value: object) -> float | None:
    """Return seconds above 0, which some servers write as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None

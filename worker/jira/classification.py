"""What an HTTP answer of Jira means. Pure: tested as a table.

| answer | means |
|---|---|
| 2xx with an id and a key | `Created` |
| 2xx without | `Unknown` |
| 3xx, 401, 403 as JSON or with Jira's header | `AuthProblem` |
| 400 as JSON, 413 | `Rejected`: the draft |
| 404, 422 | `Rejected`: the set-up |
| 400, 403 with any other body | `NotSent`: an edge answered in Jira's place |
| 429 | `Throttled` |
| all else, 5xx above all | `Unknown` |
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from worker.jira.answers import (
    AuthProblem,
    CreateAnswer,
    Created,
    Failure,
    NotSent,
    Rejected,
    Throttled,
    Unknown,
)
from worker.jira.slack_text import cleaned

_TRACE_HEADERS: Final = ("atl-traceid", "x-arequestid", "x-request-id")
_DENIED: Final = "x-authentication-denied-reason"
_REJECTIONS: Final = {
    400: "Jira refused the request (400)",
    404: "Jira does not know what the request is for (404)",
    413: "the request is too large for Jira (413)",
    422: "Jira's configuration prevents it (422)",
}
_SURELY_NONE: Final = {400, 401, 403, 404, 413, 422}
_MOST_MESSAGES: Final = 20
_LONGEST_MESSAGE: Final = 500
_LONGEST_HEADER: Final = 200


def creation(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> CreateAnswer:
    """What became of the POST that creates a ticket.

    Args:
        now: with a time zone; turns the dates of a 429 into seconds.
    """
    headers = _lower(headers)
    trace = trace_id(headers)
    if not 200 <= status < 300:
        return _failure(status, headers, body, now)
    content = json_object(body)
    if content is None:
        return Unknown(f"Jira answered {status}, but not in readable JSON", status, trace)
    issue_id, key = content.get("id"), content.get("key")
    if isinstance(issue_id, str) and isinstance(key, str) and issue_id and key:
        return Created(issue_id, key, trace)
    return Unknown(f"Jira answered {status} without an id and a key", status, trace)


def failure(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Failure | None:
    """What went wrong with any other call; None when nothing did.

    With a token that has expired Jira Cloud answers a search with 200 and what anybody may see, which is
    nothing; only a header tells (https://github.com/MrRefactoring/jira.js/issues/418). Who takes that for
    "there is no ticket" makes a second one.
    """
    headers = _lower(headers)
    if not 200 <= status < 300:
        return _failure(status, headers, body, now)
    return _anonymous(status, headers) if _login_failed(headers) else None


def json_object(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object, if it is one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def trace_id(headers: Mapping[str, str]) -> str | None:
    """What Atlassian's support asks for first."""
    found = (headers[name] for name in _TRACE_HEADERS if headers.get(name))
    return next((value[:_LONGEST_HEADER] for value in found), None)


def _failure(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Failure:
    trace, content = trace_id(headers), json_object(body)
    messages = tuple(_messages(content or {}))[:_MOST_MESSAGES]
    denied = headers.get(_DENIED)
    if status == 429:
        reason = headers.get("ratelimit-reason", "")[:_LONGEST_HEADER] or None
        why = f"too many requests ({reason})" if reason else "too many requests"
        return Throttled(_pause(headers, now), reason, why, trace_id=trace)
    if status in _SURELY_NONE and _login_failed(headers):
        return _anonymous(status, headers)
    if 300 <= status < 400:
        return AuthProblem(status, f"Jira answered {status}, a redirect, perhaps to a login page", (), trace)
    if status == 403 and denied:
        messages = (*messages, denied[:_LONGEST_MESSAGE])
        return AuthProblem(
            status, "Jira denies the login; a person may have to log in first", messages, trace
        )
    if status == 401 or (status == 403 and content is not None):
        problem = "does not accept the account" if status == 401 else "does not let the account do this"
        return AuthProblem(status, f"Jira {problem} ({status})", messages, trace)
    if status in {400, 403} and content is None:
        return NotSent(f"something in front of Jira refused the request ({status})", status, trace)
    if status in _REJECTIONS:
        return Rejected(status, _REJECTIONS[status], messages, trace)
    return Unknown(f"Jira answered {status}", status, trace)


def _login_failed(headers: Mapping[str, str]) -> bool:
    reason = headers.get("x-seraph-loginreason", "").upper()
    return "AUTHENTICATED_FAILED" in reason or "AUTHENTICATION_DENIED" in reason


def _anonymous(status: int, headers: Mapping[str, str]) -> AuthProblem:
    why = f"the login failed; Jira answered {status}, as to somebody unknown"
    return AuthProblem(status, why, trace_id=trace_id(headers))


def _messages(content: Mapping[str, Any]) -> Iterator[str]:
    """Of Jira's ``{"errorMessages": [text], "errors": {field: text}}``, and of a gateway's ``message``."""
    general, fields, message = (content.get(name) for name in ("errorMessages", "errors", "message"))
    found = [*general] if isinstance(general, list) else []
    found += [f"{name}: {text}" for name, text in fields.items()] if isinstance(fields, dict) else []
    found.append(message)
    for item in found:
        if isinstance(item, str) and item:
            yield cleaned(item[:_LONGEST_MESSAGE])


def _pause(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds: ``Retry-After`` as a number or a date, else the time until ``X-RateLimit-Reset``."""
    given = headers.get("retry-after", "").strip()
    with contextlib.suppress(ValueError):
        seconds = float(given)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    moment = _date(given) or _iso(headers.get("x-ratelimit-reset", "").strip())
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

"""Classify an HTTP response of Jira. Pure: tested as a table.

| response | to a create | to any other call |
|---|---|---|
| 2xx with what was asked for | `Created` | no failure |
| 2xx with a web page | `Unknown` | `AuthProblem` |
| 2xx with anything else | `Unknown` | the reader's matter |
| 3xx, 401, 403 as JSON or with Jira's header | `AuthProblem` | the same |
| 401 whose body speaks of a scope | `AuthProblem`, ``is_of_scope`` | the same |
| 400 as JSON | `Rejected`: the draft or the set-up, see `refusal` | the same |
| 413 | `Rejected`: the draft | the same |
| 404, 405, 410, 415, 422 | `Rejected`: the set-up | the same |
| 400, 403, 407 with any other body | `NotSent`: an edge answered in Jira's place | the same |
| 429 | `Throttled` | the same |
| 408, 409, 425 and all of 5xx | `Unknown` | the same |
| all else of 4xx | `Unknown` | `Rejected`: the set-up |
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from worker.http_once import NotSent, Unknown
from worker.jira import parsing
from worker.jira.answers import AuthProblem, CreateAnswer, Created, Failure, Rejected, Throttled
from worker.jira.pauses import pause
from worker.jira.refusal import about
from worker.text.slack_text import cleaned

_TRACE_HEADERS: Final = ("atl-traceid", "x-arequestid", "x-request-id")
_DENIED: Final = "x-authentication-denied-reason"
_REJECTIONS: Final = {
    400: "Jira refused the request (400)",
    404: "Jira does not know what the request is for (404)",
    405: "this is not the address of Jira's API, or not of this kind of Jira (405)",
    410: "Jira no longer has this call (410)",
    413: "the request is too large for Jira (413)",
    415: "this is not the address of Jira's API (415)",
    422: "Jira's configuration prevents it (422)",
}
_OF_AN_EDGE: Final = {400, 403, 407}
_SURELY_NONE: Final = {*_REJECTIONS, *_OF_AN_EDGE, 401}
_PERHAPS_LATER: Final = {408, 409, 425}
_SCOPE: Final = re.compile(rb"\bscopes?\b", re.IGNORECASE)
"""Word of a refusal that no other token of the same login mends.

The gateway says "Unauthorized; scope does not match", for each endpoint by itself; an expired token is
"Unauthorized" alone. A web page has the word in its tables.
"""

_LONGEST_REFUSAL: Final = 2_000
_MOST_MESSAGES: Final = 20
_LONGEST_MESSAGE: Final = 500
_LONGEST_HEADER: Final = 200


def creation(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, sent: Collection[str] = ()
) -> CreateAnswer:
    """Classify the response to the POST that creates a ticket; the dates of a 429 count from ``now``.

    Args:
        sent: the fields of the ticket, by which a refusal is told to be about the draft.
    """
    headers = _lower(headers)
    trace = trace_id(headers)
    if not 200 <= status < 300:
        found = _failure(status, headers, body, now, sent)
        return found or Unknown(f"Jira answered {status}", status, trace)
    content = json_object(body)
    if content is None:
        return Unknown(f"Jira answered {status}, but not in readable JSON", status, trace)
    try:
        return Created(*parsing.identity(content), trace)
    except parsing.Unreadable as exc:
        return Unknown(f"Jira answered {status} with {exc}", status, trace)


def failure(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Failure | None:
    """Classify the response to any other call; None when it succeeded.

    With a token that has expired Jira Cloud answers a search with 200 and what anybody may see, which is
    nothing; only a header tells (https://github.com/MrRefactoring/jira.js/issues/418). Taken for "there is
    no ticket", it would lead to a second one.
    """
    headers = _lower(headers)
    trace = trace_id(headers)
    if 200 <= status < 300:
        if _login_failed(headers):
            return _anonymous(status, headers)
        if _is_page(headers, body):
            why = f"a web page came in place of Jira's answer ({status}), perhaps a login"
            return AuthProblem(status, why, (), trace, is_page=True)
        return None
    found = _failure(status, headers, body, now)
    if found is None and 400 <= status < 500 and status not in _PERHAPS_LATER:
        return Rejected(status, f"Jira refused the request ({status})", (), trace, "set_up")
    return found or Unknown(f"Jira answered {status}", status, trace)


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the body as a JSON object, if it is one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def trace_id(headers: Mapping[str, str]) -> str | None:
    """Return the id of the request, for which Atlassian's support asks first."""
    found = (headers[name] for name in _TRACE_HEADERS if headers.get(name))
    return next((value[:_LONGEST_HEADER] for value in found), None)


def _failure(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, sent: Collection[str] = ()
) -> Failure | None:
    """Return the outcome that the status alone makes clear; None where it does not."""
    trace, content = trace_id(headers), json_object(body)
    messages = tuple(_messages(content or {}))[:_MOST_MESSAGES]
    denied = headers.get(_DENIED)
    if status == 429:
        reason = headers.get("ratelimit-reason", "")[:_LONGEST_HEADER] or None
        why = f"too many requests ({reason})" if reason else "too many requests"
        return Throttled(pause(headers, now), reason, why, trace_id=trace)
    if status in _SURELY_NONE and _login_failed(headers):
        return _anonymous(status, headers)
    if 300 <= status < 400:
        return AuthProblem(status, _redirected(status, headers), (), trace)
    if status == 403 and denied:
        messages = (*messages, denied[:_LONGEST_MESSAGE])
        return AuthProblem(
            status, "Jira denies the login; a person may have to log in first", messages, trace
        )
    if status == 401 and not _is_page(headers, body) and _SCOPE.search(body[:_LONGEST_REFUSAL]):
        why = "the token lacks a scope that Jira needs for this request (401)"
        return AuthProblem(status, why, messages, trace, is_of_scope=True)
    if status == 401 or (status == 403 and content is not None):
        problem = "does not accept the account" if status == 401 else "does not let the account do this"
        return AuthProblem(status, f"Jira {problem} ({status})", messages, trace)
    if status in _OF_AN_EDGE and content is None:
        return NotSent(f"something in front of Jira refused the request ({status})", status, trace)
    if status in _REJECTIONS:
        return Rejected(status, _REJECTIONS[status], messages, trace, about(status, content or {}, sent))
    return None


def _redirected(status: int, headers: Mapping[str, str]) -> str:
    """Describe a redirect by its host alone: the rest of its address may be a secret."""
    try:
        to = urlsplit(headers.get("location", ""))
        host = f"{to.scheme}://{to.hostname}" if to.scheme in ("http", "https") and to.hostname else ""
    except ValueError:
        host = ""
    where = f" to {cleaned(host)[:_LONGEST_HEADER]}" if host else ""
    return f"Jira answered {status}, a redirect{where}, perhaps to a login page"


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Judge by the body first: some servers send JSON as ``text/html``, or HTML as JSON."""
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"{", b"[")):
        return False
    return start.startswith(b"<") or (bool(start) and "html" in headers.get("content-type", "").lower())


def _login_failed(headers: Mapping[str, str]) -> bool:
    reason = headers.get("x-seraph-loginreason", "").upper()
    return "AUTHENTICATED_FAILED" in reason or "AUTHENTICATION_DENIED" in reason


def _anonymous(status: int, headers: Mapping[str, str]) -> AuthProblem:
    why = f"the login failed; Jira answered {status}, as to an unknown account"
    return AuthProblem(status, why, trace_id=trace_id(headers))


def _messages(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield texts of ``{"errorMessages": [text], "errors": {field: text}}``, and a gateway's ``message``."""
    general, fields, message = (content.get(name) for name in ("errorMessages", "errors", "message"))
    found = [*general] if isinstance(general, list) else []
    found += [f"{name}: {text}" for name, text in fields.items()] if isinstance(fields, dict) else []
    found.append(message)
    for item in found:
        if isinstance(item, str) and item:
            yield cleaned(item[:_LONGEST_MESSAGE])


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

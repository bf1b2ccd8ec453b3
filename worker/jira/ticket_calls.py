"""Calls of Jira for what follows a ticket: its remote link, comments and attachments.

Each is one request; a question is asked once more if Jira refused a token that has ended. No failure says
more than the status and the names of fields: what is sent are other people's words, and Jira's refusals may
quote them.

| | Cloud | Data Center |
|---|---|---|
| a comment's body | an Atlassian document | wiki text |
| all else | the same | the same |
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from worker.http_once import HttpResponse, NotSent, Unknown
from worker.jira import parsing
from worker.jira.answers import AuthProblem, CallFailed, Failure, Rejected
from worker.jira.classification import json_object, trace_id
from worker.jira.client import JiraClient
from worker.jira.login.renewal import renewed_once
from worker.jira.paths import endpoint_of, issue_path
from worker.jira.responses import failure_of, is_gone, read

UPLOAD_SECONDS: Final = 45.0
"""Limit of an upload, which takes longer than other calls."""

MOST_FIELDS: Final = 10

_PAGE: Final = 200
_MOST_PAGES: Final = 10
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,50}", re.ASCII)
_NOT_IN_A_HEADER: Final = {'"': "%22", "\r": "%0D", "\n": "%0A"}
_OF_JIRA_ALONE: Final = 413


class TicketCalls:
    """The calls, by a client of Jira. Each raises `CallFailed` without a clear success."""

    def __init__(self, jira: JiraClient) -> None:
        self._jira = jira

    def put_link(self, ticket: str, global_id: str, url: str, title: str) -> bool:
        """Link the ticket to ``url``, in place of an earlier link with this id; False if it has gone."""
        path = f"{issue_path(ticket)}/remotelink"
        link = {"globalId": global_id, "object": {"url": url, "title": title}}
        return _written(self._jira.send("POST", path, link), path)

    def comment_properties(self, ticket: str) -> tuple[Mapping[str, Any], ...] | None:
        """Read the entity properties of the ticket's comments, a mapping for each; None if it has gone."""
        path = f"{issue_path(ticket)}/comment"
        found: list[Mapping[str, Any]] = []
        for _ in range(_MOST_PAGES):
            params = {
                "expand": "properties",
                "orderBy": "-created",
                "startAt": str(len(found)),
                "maxResults": str(_PAGE),
            }
            answer = self._ask(path, params)
            if _is_gone(answer):
                return None
            content = _object_of(answer, path)
            page = read(parsing.comment_properties, content)
            found += page
            total = content.get("total")
            if not page or not isinstance(total, int) or len(found) >= total:
                return tuple(found)
        raise CallFailed(Unknown("the ticket has too many comments to look through"), endpoint_of(path))

    def add_comment(self, ticket: str, body: Any, property_key: str, value: Mapping[str, Any]) -> bool:
        """Comment on the ticket, once; False if it has gone.

        Args:
            body: an Atlassian document, or wiki text on Data Center.
            value: of the comment's entity property, by which it is found again.
        """
        path = f"{issue_path(ticket)}/comment"
        content = {"body": body, "properties": [{"key": property_key, "value": value}]}
        return _written(self._jira.send("POST", path, content, fresh=True), path)

    def attachments(self, ticket: str) -> tuple[str, ...] | None:
        """Read the names of the ticket's attachments; None if it has gone."""
        path = issue_path(ticket)
        answer = self._ask(path, {"fields": "attachment"})
        if _is_gone(answer):
            return None
        return read(_names_of_attachments, _object_of(answer, path))

    def attach(self, ticket: str, name: str, content: bytes, mimetype: str) -> None:
        """Attach a file, once.

        A ticket that was seen just now and is not known here is one where attachments are off: `Rejected`.
        """
        path = f"{issue_path(ticket)}/attachments"
        boundary = f"threadsync-{secrets.token_hex(16)}"
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            # Jira refuses what a browser might have been tricked into sending.
            "X-Atlassian-Token": "no-check",
        }
        answer = self._jira.send(
            "POST",
            path,
            content=multipart(boundary, name, content, mimetype),
            headers=headers,
            timeout=UPLOAD_SECONDS,
            fresh=True,
        )
        _fail_unless_good(answer, path, is_write=True)
        if not isinstance(_json_of(answer), list):
            raise CallFailed(_unreadable(answer), endpoint_of(path))

    def _ask(self, path: str, params: Mapping[str, str]) -> HttpResponse:
        return renewed_once(lambda: self._jira.send("GET", path, params=params))


def multipart(boundary: str, name: str, content: bytes, mimetype: str) -> bytes:
    """Return a form with one file, as browsers write it: https://html.spec.whatwg.org/#multipart-form-data."""
    escaped = "".join(_NOT_IN_A_HEADER.get(letter, letter) for letter in name)
    kind = mimetype if re.fullmatch(r"[\w.+-]+/[\w.+-]+", mimetype, re.ASCII) else "application/octet-stream"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def field_names(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the fields that a refusal blames, and none of its words."""
    errors = content.get("errors")
    names: Sequence[Any] = list(errors) if isinstance(errors, dict) else []
    known = [name for name in names if isinstance(name, str) and _FIELD.fullmatch(name)]
    return tuple(known[:MOST_FIELDS])


def _written(answer: HttpResponse, path: str) -> bool:
    if _is_gone(answer):
        return False
    _fail_unless_good(answer, path, is_write=True)
    if json_object(answer.content) is None:
        raise CallFailed(_unreadable(answer), endpoint_of(path))
    return True


def _object_of(answer: HttpResponse, path: str) -> dict[str, Any]:
    _fail_unless_good(answer, path, is_write=False)
    content = json_object(answer.content)
    if content is None:
        raise CallFailed(_unreadable(answer), endpoint_of(path))
    return content


def _is_gone(answer: HttpResponse) -> bool:
    return is_gone(failure_of(answer), answer)


def _fail_unless_good(answer: HttpResponse, path: str, *, is_write: bool) -> None:
    if failed := failure_of(answer):
        raise CallFailed(_without_words(failed, answer, is_write=is_write), endpoint_of(path))


def _without_words(failed: Failure, answer: HttpResponse, *, is_write: bool) -> Failure:
    """Return the failure with names of fields in place of messages.

    A refusal without JSON is that of something in front of Jira, and is no decision of Jira's. A web page in
    place of a write's response leaves open whether the write came through.
    """
    content = json_object(answer.content)
    if isinstance(failed, AuthProblem) and failed.is_page and is_write:
        return Unknown(failed.why, failed.status, failed.trace_id)
    if isinstance(failed, Rejected) and content is None and failed.status != _OF_JIRA_ALONE:
        why = f"something in front of Jira refused the request ({failed.status})"
        return NotSent(why, failed.status, failed.trace_id)
    if isinstance(failed, Rejected | AuthProblem):
        return replace(failed, messages=field_names(content or {}))
    return failed


def _unreadable(answer: HttpResponse) -> Unknown:
    why = f"Jira answered {answer.status}, but not in readable JSON"
    return Unknown(why, answer.status, trace_id(answer.headers))


def _json_of(answer: HttpResponse) -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _names_of_attachments(content: Mapping[str, Any]) -> tuple[str, ...]:
    fields = content.get("fields")
    listed = fields.get("attachment") if isinstance(fields, dict) else None
    if not isinstance(listed, list):
        raise parsing.Unreadable("a ticket without a list of attachments")
    names = (item.get("filename") for item in listed if isinstance(item, dict))
    return tuple(name for name in names if isinstance(name, str))

"""Requests to the sandbox Jira and its responses, independent of the HTTP library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

JSON_TYPE: Final = "application/json;charset=UTF-8"


@dataclass(frozen=True)
class Request:
    """A request: ``path`` and ``query`` are decoded, the names of ``headers`` in lower case.

    Args:
        base: the scheme and host that the client used.
        at_gateway: True if it was sent to the port of gateway and token server, False for the site's.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base: str = "http://127.0.0.1"
    at_gateway: bool = False


@dataclass(frozen=True)
class Reply:
    """A response. ``delay`` is in seconds; if ``cut``, the connection ends in the middle of the body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False

    @property
    def sent(self) -> bytes:
        """The part of the body that is sent; ``Content-Length`` counts the whole."""
        return self.body[: len(self.body) // 2] if self.cut else self.body


@dataclass(frozen=True)
class Drop:
    """An end of the connection after ``delay`` seconds, without a response."""

    delay: float = 0.0


Outcome = Reply | Drop


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Build a response with a JSON body, as Jira sends it."""
    return Reply(status, json.dumps(body).encode(), {"Content-Type": JSON_TYPE, **(headers or {})})


def error_reply(
    status: int,
    messages: Sequence[str] = (),
    errors: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Build an error in Jira's form: messages about the request, and errors by field."""
    return json_reply(status, {"errorMessages": list(messages), "errors": dict(errors or {})}, headers)


def gateway_reply(status: int, message: str) -> Reply:
    """Build an error in the form of Atlassian's gateway, which stands before Jira."""
    return json_reply(status, {"code": status, "message": message})


def html_reply(status: int, title: str) -> Reply:
    """Build an HTML page, as a firewall or proxy sends it in place of Jira."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

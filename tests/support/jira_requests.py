"""Requests to the sandbox Jira, as a client of it makes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import httpx

from sandbox.jira.replies import Outcome, Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.site import JiraSite

MARKER = "slk-abc"


def basic(email: str, token: str) -> str:
    """The header of an account."""
    return f"Basic {base64.b64encode(f'{email}:{token}'.encode()).decode()}"


def adf(text: str) -> dict[str, Any]:
    """A document of one paragraph."""
    paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text}]}
    return {"type": "doc", "version": 1, "content": [paragraph]}


def create_body(marker: str = MARKER, **fields: Any) -> dict[str, Any]:
    """A draft that Jira takes, with the marker as label and property.

    ``fields`` are put over its own; None takes one away.
    """
    given = {
        "project": {"key": "PROJ"},
        "issuetype": {"name": "Task"},
        "summary": "The printer is on fire",
        "description": adf("It is warm."),
        "labels": [marker],
        **fields,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    return {"fields": kept, "properties": [{"key": "threadsync", "value": {"marker": marker, "attempt": 1}}]}


def ask(site: JiraSite, method: str, path: str, body: Any = None, **query: str) -> Outcome:
    """Return the response to a request of the bot; ``path`` is what follows ``/rest/api/``."""
    return send(site, method, f"/rest/api/{path}", body, basic(site.email, site.token), query)


def answer(site: JiraSite, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
    """Status and JSON of an answer that is whole."""
    return read(ask(site, method, path, body, **query))


def send(
    site: JiraSite,
    method: str,
    path: str,
    body: Any = None,
    authorization: str = "",
    query: Mapping[str, str] | None = None,
    *,
    at_gateway: bool | None = None,
) -> Outcome:
    """Return the response to a request with a whole path and any login.

    Args:
        at_gateway: None sends it where its path belongs: to the gateway, to the token server, or to the site.
    """
    if at_gateway is None:
        at_gateway = path.startswith(("/ex/", "/oauth/"))
    headers = {"authorization": authorization} if authorization else {}
    content = b"" if body is None else json.dumps(body).encode()
    return respond(site, Request(method, path, query or {}, headers, content, at_gateway=at_gateway))


def upload(
    site: JiraSite, path: str, *files: tuple[str, bytes], field: str = "file", **headers: str
) -> Outcome:
    """Return the response to an upload of files by the bot, built as httpx builds it.

    ``headers`` have underscores for hyphens; without any, the one that Jira demands is sent.
    """
    parts = [(field, (name, content, "text/plain")) for name, content in files]
    built = httpx.Request("POST", "http://jira.example", files=parts or {"other": b""})
    given = headers or {"x_atlassian_token": "no-check"}
    sent = {
        "authorization": basic(site.email, site.token),
        "content-type": built.headers["content-type"],
        **{name.replace("_", "-"): value for name, value in given.items()},
    }
    return respond(site, Request("POST", f"/rest/api/{path}", {}, sent, built.read()))


def read(reply: Outcome) -> tuple[int, Any]:
    """Status and JSON of an answer that is whole; None for an empty one."""
    assert isinstance(reply, Reply)
    assert reply.sent == reply.body
    return reply.status, json.loads(reply.body) if reply.body else None

"""Requests to the sandbox Jira, as a client of it makes them."""

from __future__ import annotations

import base64
import json
from typing import Any

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
    """Return the response to a request; ``path`` is what follows ``/rest/api/``."""
    headers = {"authorization": basic(site.email, site.token)}
    content = b"" if body is None else json.dumps(body).encode()
    return respond(site, Request(method, f"/rest/api/{path}", query, headers, content))


def answer(site: JiraSite, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
    """Status and JSON of an answer that is whole."""
    reply = ask(site, method, path, body, **query)
    assert isinstance(reply, Reply)
    assert reply.sent == reply.body
    return reply.status, json.loads(reply.body)

"""Requests and responses of the client, checked by Atlassian's own description of Jira Cloud's API."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from worker.jira.answers import JiraAccount
from worker.jira.client import JiraClient
from worker.jira.ticket import fields_of

# Read at import, because tests run without the shell's settings.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")

pytestmark = pytest.mark.skipif(
    not FOLDER,
    reason="set THREADSYNC_TEST_DATA to the folder that has jira/jira-cloud-v3.subset.json",
)

SITE = "https://your-domain.atlassian.net"
TICKET = {
    "id": "10007",
    "key": "PROJ-7",
    "fields": {"labels": ["slk-x"]},
    "properties": {"threadsync": {"marker": "slk-x", "attempt": 1}},
}
FIELDS = fields_of(
    summary="Broken login",
    description="on *iOS*",
    labels=("mobile",),
    marker="slk-x",
    project_key="PROJ",
    issue_type="Task",
    deployment="cloud",
)
FIELD = {
    "fieldId": "summary",
    "key": "summary",
    "name": "Summary",
    "required": True,
    "operations": ["set"],
    "schema": {"type": "string", "system": "summary"},
}

CALLS: dict[str, tuple[Callable[[JiraClient], object], int, dict[str, Any]]] = {
    "create": (
        lambda client: client.create(FIELDS, "slk-x", 1),
        201,
        {"id": "10007", "key": "PROJ-7", "self": f"{SITE}/rest/api/3/issue/10007"},
    ),
    "search_label": (lambda client: client.search_label("slk-x"), 200, {"issues": [TICKET], "isLast": True}),
    "newest_number": (lambda client: client.newest_number("PROJ"), 200, {"issues": [], "isLast": True}),
    "fetch": (lambda client: client.fetch(["PROJ-7"]), 200, {"issues": [TICKET], "issueErrors": []}),
    "get": (lambda client: client.get("PROJ-7"), 200, TICKET),
    "myself": (lambda client: client.myself(), 200, {"accountId": "5b10", "active": True}),
    "put_remote_link": (
        lambda client: client.put_remote_link("PROJ-7", "threadsync=slk-x", "https://s/1", "Slack thread"),
        201,
        {"id": 10000, "self": f"{SITE}/rest/api/3/issue/PROJ-7/remotelink/10000"},
    ),
}


@functools.cache
def contract() -> OpenAPI:
    path = Path(FOLDER or "") / "jira" / "jira-cloud-v3.subset.json"
    return OpenAPI.from_dict(json.loads(path.read_text(encoding="utf-8")))


class Checked(httpx.AsyncBaseTransport):
    """A transport that checks each request and its prepared response by the contract."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, content = self.answers.pop(0)
        asked = MockRequest(
            SITE,
            request.method.lower(),
            request.url.path,
            args=dict(request.url.params),
            headers=dict(request.headers),
            data=request.content or None,
        )
        contract().validate_request(asked)
        answer = MockResponse(
            json.dumps(content).encode(), status_code=status, content_type="application/json"
        )
        contract().validate_response(asked, answer)
        return httpx.Response(status, json=content)


def client_of(*answers: tuple[int, dict[str, Any]]) -> JiraClient:
    return JiraClient(JiraAccount(SITE, "me@example.com", "hunter2"), Checked(*answers))


@pytest.mark.parametrize("name", CALLS)
def test_calls_keep_to_the_contract(name: str) -> None:
    """Every request, and every response that the tests make up, keeps to the contract."""
    call, status, content = CALLS[name]
    with client_of((status, content)) as client:
        found = call(client)
    assert type(found).__name__ not in {"Unknown", "NotSent"}


def test_the_create_screen_keeps_to_the_contract() -> None:
    """The two requests for the create screen keep to the contract."""
    kinds = {"issueTypes": [{"id": "10002", "name": "Task"}], "total": 1}
    with client_of((200, kinds), (200, {"fields": [FIELD], "total": 1})) as client:
        (field,) = client.required_fields("PROJ", "Task")
    assert field.id == "summary"

"""The sandbox Jira held against Atlassian's own description of the API."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from sandbox.jira.replies import Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import MARKER, basic, create_body

# Read at import, as the tests themselves run without the shell's environment.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")
SITE = "https://your-domain.atlassian.net"
WANTED = {"fields": ["labels"], "properties": ["threadsync"]}
LINK = {"globalId": "slack=1", "object": {"url": "https://a.example", "title": "A"}}

pytestmark = pytest.mark.skipif(
    not FOLDER,
    reason="set THREADSYNC_TEST_DATA to the folder that has jira/jira-cloud-v3.subset.json",
)


@pytest.fixture(scope="module")
def contract() -> OpenAPI:
    path = Path(FOLDER or "") / "jira" / "jira-cloud-v3.subset.json"
    return OpenAPI.from_dict(json.loads(path.read_text()))


@pytest.fixture
def site() -> JiraSite:
    """Create a site with two tickets, one of them linked."""
    site = JiraSite()
    for _ in range(2):
        ask(site, "POST", "issue", create_body())
    ask(site, "POST", "issue/PROJ-1/remotelink", LINK)
    return site


def ask(
    site: JiraSite,
    method: str,
    path: str,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    token: str = "sandbox",
) -> Reply:
    headers = {"authorization": basic(site.email, token), "content-type": "application/json"}
    content = b"" if body is None else json.dumps(body).encode()
    reply = respond(site, Request(method, f"/rest/api/3/{path}", query or {}, headers, content, SITE))
    assert isinstance(reply, Reply)
    return reply


def check(contract: OpenAPI, reply: Reply, method: str, path: str, query: Mapping[str, str]) -> None:
    asked = MockRequest(SITE, method.lower(), f"/rest/api/3/{path}", args=dict(query))
    answered = MockResponse(
        reply.body, status_code=reply.status, content_type="application/json", headers=dict(reply.headers)
    )
    contract.validate_response(asked, answered)


def test_another_answer_is_found_out(site: JiraSite, contract: OpenAPI) -> None:
    """The check refuses a response with a key that Jira would not send."""
    reply = ask(site, "POST", "issue", create_body())
    other = replace(reply, body=reply.body.replace(b'"key"', b'"kea"'))
    with pytest.raises(OpenAPIError):
        check(contract, other, "POST", "issue", NOTHING)


NEWEST = {"jql": 'project = "PROJ" ORDER BY created DESC', "maxResults": 1}
NOTHING: dict[str, str] = {}


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "query"),
    [
        (201, "POST", "issue", create_body(), NOTHING),
        (400, "POST", "issue", create_body(summary=""), NOTHING),
        (200, "GET", "issue/PROJ-1", None, NOTHING),
        (200, "GET", "issue/10000", None, {"fields": "labels", "properties": "threadsync"}),
        (404, "GET", "issue/PROJ-9", None, NOTHING),
        (200, "POST", "issue/bulkfetch", {"issueIdsOrKeys": ["PROJ-1", "PROJ-9"], **WANTED}, NOTHING),
        (400, "POST", "issue/bulkfetch", {"issueIdsOrKeys": []}, NOTHING),
        (200, "POST", "search/jql", {"jql": f'labels = "{MARKER}"', **WANTED}, NOTHING),
        (200, "POST", "search/jql", NEWEST, NOTHING),
        (400, "POST", "search/jql", {"jql": "order by rank"}, NOTHING),
        (200, "GET", "myself", None, NOTHING),
        (200, "GET", "serverInfo", None, NOTHING),
        (200, "GET", "issue/createmeta/PROJ/issuetypes", None, NOTHING),
        (200, "GET", "issue/createmeta/PROJ/issuetypes/10001", None, NOTHING),
        (201, "POST", "issue/PROJ-2/remotelink", LINK, NOTHING),
        (200, "POST", "issue/PROJ-1/remotelink", LINK, NOTHING),
        (400, "POST", "issue/PROJ-1/remotelink", {"object": {}}, NOTHING),
        (404, "POST", "issue/PROJ-9/remotelink", LINK, NOTHING),
        (200, "GET", "issue/PROJ-1/remotelink", None, {"globalId": "slack=1"}),
        (404, "GET", "issue/PROJ-1/remotelink", None, {"globalId": "x"}),
    ],
)
def test_an_answer_is_as_described(
    status: int,
    method: str,
    path: str,
    body: Any,
    query: Mapping[str, str],
    site: JiraSite,
    contract: OpenAPI,
) -> None:
    """Each endpoint's success, error and 401 fit Atlassian's description."""
    reply = ask(site, method, path, body, query)
    assert reply.status == status
    check(contract, reply, method, path, query)
    stranger = ask(site, method, path, body, query, token="wrong")
    assert stranger.status == 401
    check(contract, stranger, method, path, query)

"""The sandbox Jira held against Atlassian's own description of the API."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from sandbox.jira.endpoints import ROUTES
from sandbox.jira.replies import Reply, Request
from sandbox.jira.routes import respond
from sandbox.jira.scopes import scope_of
from sandbox.jira.showcase import showcase
from sandbox.jira.site import JiraSite
from tests.support.jira_requests import MARKER, adf, basic, create_body, upload

# Read at import, as the tests themselves run without the shell's environment.
FOLDER = os.environ.get("THREADSYNC_TEST_DATA")
SITE = "https://your-domain.atlassian.net"
WANTED = {"fields": ["labels"], "properties": ["threadsync"]}
LINK = {"globalId": "slack=1", "object": {"url": "https://a.example", "title": "A"}}
NOTE = {"body": adf("Thread"), "properties": [{"key": "threadsync-thread", "value": {}}]}

pytestmark = pytest.mark.skipif(
    not FOLDER,
    reason="set THREADSYNC_TEST_DATA to the folder that has jira/jira-cloud-v3.subset.json",
)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    path = Path(FOLDER or "") / "jira" / "jira-cloud-v3.subset.json"
    described: dict[str, Any] = json.loads(path.read_text())
    return described


@pytest.fixture(scope="module")
def contract(description: dict[str, Any]) -> OpenAPI:
    return OpenAPI.from_dict(description)


@pytest.fixture
def site() -> JiraSite:
    """Create a site with fields of every kind and two tickets, one linked, with a comment and a file."""
    site = showcase(JiraSite())
    for _ in range(2):
        ask(site, "POST", "issue", create_body())
    ask(site, "POST", "issue/PROJ-1/remotelink", LINK)
    ask(site, "POST", "issue/PROJ-1/comment", NOTE)
    upload(site, "3/issue/PROJ-1/attachments", ("a.txt", b"A"))
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
    """Check a response. Jira writes a moment with +0000, which its own description has as +00:00."""
    body = re.sub(rb"(T[0-9:.]{12}\+00)(00)", rb"\1:\2", reply.body)
    asked = MockRequest(SITE, method.lower(), f"/rest/api/3/{path}", args=dict(query))
    answered = MockResponse(
        body, status_code=reply.status, content_type="application/json", headers=dict(reply.headers)
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
        (200, "GET", "issue/createmeta/FORMS/issuetypes", None, {"maxResults": "3"}),
        *(
            (200, "GET", f"issue/createmeta/FORMS/issuetypes/{kind}", None, {"maxResults": "200"})
            for kind in ("10001", "10002", "10011", "10012", "10013", "10014", "10003")
        ),
        (200, "GET", "issue/createmeta/DESK/issuetypes/10021", None, NOTHING),
        (200, "GET", "project/search", None, {"query": "desk"}),
        (200, "GET", "project/DESK", None, NOTHING),
        (404, "GET", "project/NONE", None, NOTHING),
        (201, "POST", "issue/PROJ-1/comment", NOTE, NOTHING),
        (400, "POST", "issue/PROJ-1/comment", {"body": "text"}, NOTHING),
        (404, "POST", "issue/PROJ-9/comment", NOTE, NOTHING),
        (200, "GET", "issue/PROJ-1/comment", None, {"expand": "properties", "orderBy": "-created"}),
        (200, "GET", "issue/PROJ-1/comment/10001", None, NOTHING),
        (404, "GET", "issue/PROJ-1/comment/7", None, NOTHING),
        (200, "GET", "issue/PROJ-1/properties/threadsync", None, NOTHING),
        (404, "GET", "issue/PROJ-1/properties/x", None, NOTHING),
        (200, "GET", "issue/PROJ-1", None, {"fields": "attachment"}),
        (200, "GET", "user/search", None, {"query": "ada@example.com"}),
        (400, "GET", "user/search", None, NOTHING),
        (200, "GET", "priority", None, NOTHING),
        (200, "GET", "mypermissions", None, {"permissions": "CREATE_ISSUES,MODIFY_REPORTER"}),
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


def test_an_upload_is_as_described(site: JiraSite, contract: OpenAPI) -> None:
    """An upload, one without the header and one that is too large fit Atlassian's description."""
    path = "issue/PROJ-1/attachments"
    good = upload(site, f"3/{path}", ("b.txt", b"B"))
    site.upload_limit = 0
    large, forged = upload(site, f"3/{path}", ("b.txt", b"B")), upload(site, f"3/{path}", x_other="1")
    for reply, status in ((good, 200), (large, 413), (forged, 403)):
        assert isinstance(reply, Reply)
        assert reply.status == status
        check(contract, reply, "POST", path, NOTHING)


def test_scopes_are_as_described(description: dict[str, Any]) -> None:
    """The gateway demands of each endpoint the classic scope that Atlassian names for it."""
    demanded: dict[str, list[str]] = {}
    named: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        rest = re.sub(r"{\w+}", "10001", path.removeprefix("/rest/api/3/"))
        for method, operation in methods.items():
            for route in ROUTES:
                if (route.method, "3" in route.versions) == (method.upper(), True) and route.path.fullmatch(
                    rest
                ):
                    scope = scope_of(route.action)
                    demanded[route.action] = [] if scope is None else [scope]
                    named[route.action] = next(
                        entry["OAuth2"] for entry in operation["security"] if "OAuth2" in entry
                    )
    assert len(demanded) > 15
    assert demanded == named

"""Calls of the client to both kinds of Jira: the requests, and the reading of responses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from worker.http_once import NotSent, Unknown
from worker.jira import parsing
from worker.jira.answers import (
    AuthProblem,
    CallFailed,
    Created,
    CreateField,
    Deployment,
    JiraAccount,
    JiraIssue,
    Rejected,
    Throttled,
)
from worker.jira.client import JiraClient

WANTED = {"fields": ["labels"], "properties": ["threadsync"]}
NO_TICKET = {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}
CREATED = {"id": "10007", "key": "PROJ-7", "self": "https://x"}


def ticket(number: int, *labels: str, marker: str | None = None) -> dict[str, Any]:
    properties = {"threadsync": {"marker": marker, "attempt": 1}} if marker else {}
    return {
        "id": str(10_000 + number),
        "key": f"PROJ-{number}",
        "fields": {"labels": [*labels]},
        "properties": properties,
    }


class Jira(httpx.AsyncBaseTransport):
    """A transport that gives its responses in order, repeats the last, and keeps the requests."""

    def __init__(self, *answers: tuple[int, Any] | httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(answer[0], json=answer[1])

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        """Return method, path with query, and JSON of each request."""
        return [
            (item.method, item.url.raw_path.decode(), json.loads(item.content) if item.content else None)
            for item in self.requests
        ]


def client_of(jira: Jira, deployment: Deployment = "cloud", url: str = "https://example.com") -> JiraClient:
    return JiraClient(JiraAccount(url, "me@example.com", "hunter2", deployment), jira)


def ask(
    call: Callable[[JiraClient], object],
    *answers: tuple[int, Any] | httpx.Response | Exception,
    deployment: Deployment = "cloud",
) -> tuple[Any, Jira]:
    jira = Jira(*answers)
    with client_of(jira, deployment) as client:
        return call(client), jira


def failure_of(
    call: Callable[[JiraClient], object],
    *answers: tuple[int, Any] | httpx.Response | Exception,
    deployment: Deployment = "cloud",
) -> Any:
    with pytest.raises(CallFailed) as caught:
        ask(call, *answers, deployment=deployment)
    assert str(caught.value) == caught.value.answer.why
    return caught.value.answer


@pytest.mark.parametrize(("deployment", "base"), [("cloud", "/rest/api/3"), ("datacenter", "/rest/api/2")])
def test_create_sends_the_marker_with_the_fields(deployment: Deployment, base: str) -> None:
    """`create` sends the marker with the fields in one POST, so no ticket exists without it."""
    fields = {"summary": "Ünicode", "labels": ["slk-x"]}
    found, jira = ask(lambda client: client.create(fields, "slk-x", 2), (201, CREATED), deployment=deployment)
    properties = [{"key": "threadsync", "value": {"marker": "slk-x", "attempt": 2}}]
    assert jira.asked == [("POST", f"{base}/issue", {"fields": fields, "properties": properties})]
    assert found == Created("10007", "PROJ-7")


def test_create_names_who_asked() -> None:
    """Who asked is in the entity property beside the marker, which is read as before."""
    _, jira = ask(lambda client: client.create({}, "slk-x", 1, "U0456"), (201, CREATED))
    [(_, _, sent)] = jira.asked
    [kept] = sent["properties"]
    assert kept == {"key": "threadsync", "value": {"marker": "slk-x", "attempt": 1, "requester": "U0456"}}
    found = parsing.issue({**CREATED, "fields": {"labels": []}, "properties": {"threadsync": kept["value"]}})
    assert found.marker == "slk-x"


def test_headers() -> None:
    """The token is a password where an e-mail address is set, and a bearer token otherwise."""
    _, jira = ask(lambda client: client.create({}, "slk-x", 1), (201, CREATED))
    headers = jira.requests[0].headers
    assert headers["authorization"] == "Basic " + base64.b64encode(b"me@example.com:hunter2").decode()
    assert (headers["accept"], headers["content-type"]) == ("application/json", "application/json")
    assert headers["user-agent"].startswith("threadsync/")
    bearer = Jira((200, {}))
    with JiraClient(JiraAccount("https://example.com", None, "hunter2", "datacenter"), bearer) as client:
        client.myself()
    assert bearer.requests[0].headers["authorization"] == "Bearer hunter2"
    assert "content-type" not in bearer.requests[0].headers


@pytest.mark.parametrize("url", ["https://example.com/jira", "https://example.com/jira/"])
def test_a_context_path(url: str) -> None:
    """A context path, as Data Centers often have, is kept in the URL."""
    jira = Jira((200, {}))
    with client_of(jira, "datacenter", url) as client:
        client.myself()
    assert str(jira.requests[0].url) == "https://example.com/jira/rest/api/2/myself"


CALLS: dict[str, tuple[Callable[[JiraClient], object], tuple[str, str, Any], tuple[str, str, Any] | None]] = {
    "search_label": (
        lambda client: client.search_label("slk-x", 2),
        ("POST", "/rest/api/3/search/jql", {"jql": 'labels = "slk-x"', "maxResults": 2, **WANTED}),
        ("POST", "/rest/api/2/search", {"jql": 'labels = "slk-x"', "maxResults": 2, "fields": ["labels"]}),
    ),
    "search_label quoted": (
        lambda client: client.search_label('a" OR "\\'),
        ("POST", "/rest/api/3/search/jql", {"jql": r'labels = "a\" OR \"\\"', "maxResults": 5, **WANTED}),
        (
            "POST",
            "/rest/api/2/search",
            {"jql": r'labels = "a\" OR \"\\"', "maxResults": 5, "fields": ["labels"]},
        ),
    ),
    "newest_number": (
        lambda client: client.newest_number("PROJ"),
        (
            "POST",
            "/rest/api/3/search/jql",
            {"jql": 'project = "PROJ" ORDER BY created DESC', "maxResults": 1, **WANTED},
        ),
        (
            "POST",
            "/rest/api/2/search",
            {"jql": 'project = "PROJ" ORDER BY created DESC', "maxResults": 1, "fields": ["labels"]},
        ),
    ),
    "fetch": (
        lambda client: client.fetch(["PROJ-1", "PROJ-2"]),
        ("POST", "/rest/api/3/issue/bulkfetch", {"issueIdsOrKeys": ["PROJ-1", "PROJ-2"], **WANTED}),
        None,
    ),
    "get": (
        lambda client: client.get("a/../b?c"),
        ("GET", "/rest/api/3/issue/a%2F..%2Fb%3Fc?fields=labels&properties=threadsync", None),
        ("GET", "/rest/api/2/issue/a%2F..%2Fb%3Fc?fields=labels&properties=threadsync", None),
    ),
    "myself": (
        lambda client: client.myself(),
        ("GET", "/rest/api/3/myself", None),
        ("GET", "/rest/api/2/myself", None),
    ),
    "put_remote_link": (
        lambda client: client.put_remote_link("PROJ-1", "threadsync=slk-x", "https://s/1", "Slack thread"),
        (
            "POST",
            "/rest/api/3/issue/PROJ-1/remotelink",
            {"globalId": "threadsync=slk-x", "object": {"url": "https://s/1", "title": "Slack thread"}},
        ),
        (
            "POST",
            "/rest/api/2/issue/PROJ-1/remotelink",
            {"globalId": "threadsync=slk-x", "object": {"url": "https://s/1", "title": "Slack thread"}},
        ),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_asked(name: str) -> None:
    """Each call sends its method, path and body, on Cloud and on Data Center."""
    call, cloud, datacenter = CALLS[name]
    answer = (200, {**ticket(1), "issues": []})
    assert ask(call, answer)[1].asked == [cloud]
    if datacenter:
        assert ask(call, answer, deployment="datacenter")[1].asked == [datacenter]


def test_a_ticket_as_we_read_it() -> None:
    """A ticket is read with its labels and the marker of its entity property."""
    found, _ = ask(
        lambda client: client.search_label("x"), (200, {"issues": [ticket(7, "a", "b", marker="m")]})
    )
    assert found == (JiraIssue("10007", "PROJ-7", ("a", "b"), "m"),)
    bare = {"id": "1", "key": "P-1", "fields": None, "properties": {"threadsync": "?"}}
    assert ask(lambda client: client.get("P-1"), (200, bare))[0] == JiraIssue("1", "P-1", (), None)


def test_the_newest_number() -> None:
    """The newest number is that of the key; an empty project has 0."""
    call: Callable[[JiraClient], object] = lambda client: client.newest_number("PROJ")  # noqa: E731
    assert ask(call, (200, {"issues": [ticket(41)]}))[0] == 41
    assert ask(call, (200, {"issues": []}))[0] == 0
    assert type(failure_of(call, (200, {"issues": [{"id": "1", "key": "odd"}]}))) is Unknown


def test_a_missing_ticket_is_none() -> None:
    """A missing ticket is None only if Jira itself says so to a caller that it knows."""
    call: Callable[[JiraClient], object] = lambda client: client.get("PROJ-1")  # noqa: E731
    assert ask(call, (404, NO_TICKET))[0] is None
    assert type(failure_of(call, httpx.Response(404, text="<html>no such page</html>"))) is Rejected
    anonymous = httpx.Response(404, json=NO_TICKET, headers={"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"})
    assert type(failure_of(call, anonymous)) is AuthProblem


def test_an_expired_token_finds_nothing_and_that_means_nothing() -> None:
    """An empty search with an expired token, which Jira Cloud calls a success, is a failed login."""
    anonymous = httpx.Response(
        200, json={"issues": []}, headers={"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
    )
    assert type(failure_of(lambda client: client.search_label("x"), anonymous)) is AuthProblem


def test_an_empty_page_with_more_behind_it_is_no_answer() -> None:
    """An empty page with more behind it is unknown: to take it for "none" would make a second ticket."""
    page = (200, {"issues": [], "nextPageToken": "more"})
    assert type(failure_of(lambda client: client.search_label("x"), page)) is Unknown


def test_fetch_takes_a_hundred_keys() -> None:
    """`fetch` sends nothing for no keys, and refuses more than a hundred."""
    assert ask(lambda client: client.fetch([]), (500, {}))[1].requests == []
    with pytest.raises(ValueError, match="101 keys"):
        ask(lambda client: client.fetch(["P-1"] * 101), (500, {}))


def test_a_data_center_is_asked_for_each_ticket() -> None:
    """A Data Center is asked for each ticket in turn, up to the tenth missing key in a row."""
    answers = [(404, NO_TICKET)] * 9 + [(200, ticket(10))] + [(404, NO_TICKET)]
    keys = [f"PROJ-{number}" for number in range(1, 101)]
    found, jira = ask(lambda client: client.fetch(keys), *answers, deployment="datacenter")
    assert [issue.key for issue in found] == ["PROJ-10"]
    assert len(jira.requests) == 20
    assert jira.asked[19][1].startswith("/rest/api/2/issue/PROJ-20?")


def test_one_failed_ticket_fails_the_fetch() -> None:
    """One ticket that cannot be read fails the whole fetch, because it may be the one that matters."""
    answers = [(200, ticket(1)), (503, {}), (200, ticket(3))]
    call: Callable[[JiraClient], object] = lambda client: client.fetch(["P-1", "P-2", "P-3"])  # noqa: E731
    assert type(failure_of(call, *answers, deployment="datacenter")) is Unknown


def test_a_slow_data_center_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests of a fetch share one deadline."""
    times = iter(range(0, 1000, 4))
    monkeypatch.setattr("worker.jira.client.monotonic", lambda: next(times))
    keys = [f"PROJ-{number}" for number in range(100)]
    found = failure_of(lambda client: client.fetch(keys), (200, ticket(1)), deployment="datacenter")
    assert found == Unknown("Jira was too slow: 2 tickets seen of 100")


CREATE_SCREEN = [
    {"fieldId": "summary", "key": "summary", "name": "Summary", "required": True},
    {"fieldId": "customfield_1", "name": "Team", "required": True, "hasDefaultValue": True},
    {"fieldId": "labels", "name": "Labels", "required": False},
]


@pytest.mark.parametrize(
    ("deployment", "types", "fields"),
    [
        ("cloud", "issueTypes", "fields"),
        ("cloud", "createMetaIssueType", "results"),
        ("datacenter", "values", "values"),
    ],
)
@pytest.mark.parametrize("issue_type", ["Task", "task", "10002"])
def test_the_create_screen(deployment: Deployment, types: str, fields: str, issue_type: str) -> None:
    """The fields of the create screen are read page by page, by the issue type's name or id."""
    kinds = [{"id": "10001", "name": "Bug"}, {"id": "10002", "name": "Task"}]
    found, jira = ask(
        lambda client: client.required_fields("PROJ", issue_type),
        (200, {types: kinds, "total": 2}),
        (200, {fields: CREATE_SCREEN[:2], "total": 3}),
        (200, {fields: CREATE_SCREEN[2:], "total": 3}),
        deployment=deployment,
    )
    assert found == (
        CreateField("summary", "Summary", required=True, has_default=False),
        CreateField("customfield_1", "Team", required=True, has_default=True),
        CreateField("labels", "Labels", required=False, has_default=False),
    )
    path = f"/rest/api/{3 if deployment == 'cloud' else 2}/issue/createmeta/PROJ/issuetypes"
    assert [item[1] for item in jira.asked] == [
        f"{path}?startAt=0&maxResults=200",
        f"{path}/10002?startAt=0&maxResults=200",
        f"{path}/10002?startAt=2&maxResults=200",
    ]


def test_an_issue_type_that_the_project_does_not_have() -> None:
    """An issue type that the project does not have is a refusal about the place."""
    found = failure_of(lambda client: client.required_fields("PROJ", "Epos"), (200, {"issueTypes": []}))
    assert found == Rejected(404, "project PROJ has no issue type 'Epos'", about="place")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {}), AuthProblem),
        ((429, {}), Throttled),
        ((400, NO_TICKET), Rejected),
        ((500, {}), Unknown),
        ((200, []), Unknown),
        ((200, {"issues": None}), Unknown),
        ((200, {"issues": [{"id": "1"}]}), Unknown),
        ((200, {"issues": ["P-1"]}), Unknown),
        (httpx.Response(200, text="<html>log in</html>"), AuthProblem),
        ((410, NO_TICKET), Rejected),
        ((405, {}), Rejected),
        ((200, {"issues": [{"id": "1", "key": "P-" + "9" * 6000}]}), Unknown),
        (httpx.ConnectError("SECRET"), NotSent),
        (httpx.ConnectTimeout("SECRET"), NotSent),
        (httpx.PoolTimeout("SECRET"), NotSent),
        (httpx.ReadTimeout("SECRET"), Unknown),
        (httpx.WriteError("SECRET"), Unknown),
        (httpx.RemoteProtocolError("SECRET"), Unknown),
        (RuntimeError("SECRET"), Unknown),
    ],
    ids=str,
)
def test_a_reading_call_that_fails(answer: Any, expected: type) -> None:
    """A reading call that fails is never taken for an empty result, and quotes no draft."""
    found = failure_of(lambda client: client.search_label("x"), answer)
    assert type(found) is expected
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("SECRET"), NotSent),
        (httpx.ConnectTimeout("SECRET"), NotSent),
        (httpx.PoolTimeout("SECRET"), NotSent),
        (httpx.ProxyError("SECRET"), NotSent),
        (httpx.WriteError("SECRET"), Unknown),
        (httpx.WriteTimeout("SECRET"), Unknown),
        (httpx.ReadError("SECRET"), Unknown),
        (httpx.ReadTimeout("SECRET"), Unknown),
        (httpx.CloseError("SECRET"), Unknown),
        (httpx.RemoteProtocolError("SECRET"), Unknown),
        (httpx.LocalProtocolError("SECRET"), Unknown),
        (httpx.DecodingError("SECRET"), Unknown),
        (OSError("SECRET"), Unknown),
        (ValueError("SECRET"), Unknown),
        (MemoryError("SECRET"), Unknown),
    ],
    ids=lambda value: type(value).__name__,
)
def test_create_never_raises(error: Exception, expected: type) -> None:
    """`create` never raises; an error is "not sent" only if it surely came before the request."""
    found, jira = ask(lambda client: client.create({}, "slk-x", 1), error)
    assert type(found) is expected
    assert "SECRET" not in repr(found)
    assert len(jira.requests) == 1


def test_the_web_side_does_not_load_it() -> None:
    """The client of the queue loads neither the Jira client nor an HTTP library or a driver."""
    code = "import sys, threadsync.client; print({'httpx', 'psycopg', 'worker.jira.client'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"

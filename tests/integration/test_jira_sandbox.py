"""The sandbox Jira as httpx sees it, the same over sockets and in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sandbox.jira.faults import CommitLate, CommitThenDrop, DropBeforeCommit
from sandbox.jira.logins import CLIENT_ID, CLIENT_SECRET
from tests.support.jira_clients import ENDED, IN_PROCESS, SOCKETS, Jira, jira_over
from tests.support.jira_requests import MARKER, adf, basic, create_body

WANTED = {"fields": ["labels"], "properties": ["threadsync"]}
ENDPOINTS = [
    ("POST", "3/issue"),
    ("POST", "3/issue/bulkfetch"),
    ("GET", "3/issue/PROJ-1"),
    ("POST", "3/search/jql"),
    ("POST", "2/search"),
    ("GET", "3/myself"),
    ("GET", "3/serverInfo"),
    ("GET", "3/issue/createmeta/PROJ/issuetypes"),
    ("GET", "3/issue/createmeta/PROJ/issuetypes/10001"),
    ("POST", "3/issue/PROJ-1/remotelink"),
    ("GET", "3/issue/PROJ-1/remotelink"),
    ("POST", "3/issue/PROJ-1/comment"),
    ("GET", "3/issue/PROJ-1/comment"),
    ("PUT", "3/issue/PROJ-1/properties/x"),
    ("POST", "3/issue/PROJ-1/attachments"),
    ("DELETE", "3/issue/PROJ-1/remotelink"),
    ("GET", "3/project/search"),
    ("GET", "2/project"),
    ("GET", "3/user/search"),
    ("GET", "3/priority"),
    ("GET", "3/mypermissions"),
]


@pytest.fixture(params=[SOCKETS, IN_PROCESS])
async def jira(request: pytest.FixtureRequest) -> AsyncIterator[Jira]:
    async with jira_over(request.param) as jira:
        yield jira


async def test_a_ticket_is_made_read_and_found(jira: Jira) -> None:
    """A ticket is found with its label and property by id, key, bulk fetch and search."""
    made = (await jira.create()).json()
    assert (made["id"], made["key"]) == ("10000", "PROJ-1")
    assert (await jira.http.get(made["self"])).status_code == 200
    asked = {"fields": "labels", "properties": "threadsync"}
    by_key = (await jira.http.get("3/issue/PROJ-1", params=asked)).json()
    assert by_key["fields"] == {"labels": [MARKER]}
    assert by_key["properties"] == {"threadsync": {"marker": MARKER, "attempt": 1}}
    body = {"issueIdsOrKeys": ["PROJ-2", "PROJ-1", "10000"], **WANTED}
    assert (await jira.http.post("3/issue/bulkfetch", json=body)).json()["issues"] == [by_key]
    found = await jira.search("3", f'labels = "{MARKER}"', maxResults=5, **WANTED)
    assert found == {"isLast": True, "issues": [by_key]}
    assert (await jira.http.get("3/issue/PROJ-2")).json() == {
        "errorMessages": ["Issue does not exist or you do not have permission to see it."],
        "errors": {},
    }


async def test_the_newest_comes_first(jira: Jira) -> None:
    """A search lists a project's newest tickets first, with a page token in v3 and a total in v2."""
    for _ in range(3):
        await jira.create()
    await jira.create(project={"key": "OTHER"})
    newest = 'project = "PROJ" ORDER BY created DESC'
    found = await jira.search("3", newest, maxResults=1)
    assert [issue["key"] for issue in found["issues"]] == ["PROJ-3"]
    assert found["isLast"] is False
    found = await jira.search("3", newest, maxResults=5, nextPageToken=found["nextPageToken"])
    assert [issue["key"] for issue in found["issues"]] == ["PROJ-2", "PROJ-1"]
    found = await jira.search("2", newest, maxResults=1, startAt=1)
    assert [issue["key"] for issue in found["issues"]] == ["PROJ-2"]
    assert (found["startAt"], found["total"]) == (1, 3)


async def test_each_version_has_its_own_search(jira: Jira) -> None:
    """API version 3 has bulk fetch and its own search; version 2 has the old search."""
    statuses = {
        path: (await jira.http.post(path, json={"jql": 'labels = "x"'})).status_code
        for path in ("3/search", "3/search/jql", "2/search", "2/search/jql", "2/issue/bulkfetch")
    }
    assert list(statuses.values()) == [410, 200, 200, 404, 405]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    ("authorization", "is_known"),
    [
        (basic("bot@example.com", "sandbox"), True),
        ("Bearer sandbox", True),
        (basic("bot@example.com", "wrong"), False),
        (basic("eve@example.com", "sandbox"), False),
        ("Bearer wrong", False),
        ("Basic ?", False),
        ("", False),
    ],
)
async def test_who_is_not_known_gets_401(
    method: str, path: str, authorization: str, is_known: bool, jira: Jira
) -> None:
    """Each endpoint accepts Basic and Bearer credentials and answers wrong ones with 401."""
    answer = await jira.http.request(
        method, path, headers={"Authorization": authorization}, auth=None, json={}
    )
    assert (answer.status_code != 401) is is_known
    if not is_known:
        assert answer.json()["errorMessages"] == ["Client must be authenticated to access this resource."]


async def test_a_new_token_ends_the_old_one(jira: Jira) -> None:
    """A new token makes the old one invalid at once."""
    jira.site.token = "another"
    assert (await jira.http.get("3/myself")).status_code == 401


async def test_a_link_is_an_upsert(jira: Jira) -> None:
    """A remote link gets 201 when new, 200 when repeated, and 400 with a missing title."""
    await jira.create()
    link = {"globalId": "slack=1", "object": {"url": "https://a.example", "title": "A"}}
    path = "3/issue/PROJ-1/remotelink"
    answers = [await jira.http.post(path, json=link) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    read = (await jira.http.get(path, params={"globalId": "slack=1"})).json()
    assert read == {**answers[0].json(), **link}
    assert (await jira.http.get(path)).json() == [read]
    assert (await jira.http.get(path, params={"globalId": "x"})).status_code == 404
    refused = await jira.http.post(path, json={"object": {"url": "https://a.example"}})
    assert (refused.status_code, refused.json()["errors"]) == (400, {"title": "'title' is required."})
    assert (await jira.http.post("3/issue/PROJ-2/remotelink", json=link)).status_code == 404


@pytest.mark.parametrize(("version", "names"), [("3", ("issueTypes", "fields")), ("2", ("values", "values"))])
async def test_the_create_screen_can_be_read(version: str, names: tuple[str, str], jira: Jira) -> None:
    """The create screen lists issue types and their required fields, under each version's names."""
    path = f"{version}/issue/createmeta/PROJ/issuetypes"
    types = (await jira.http.get(path)).json()[names[0]]
    assert [(item["id"], item["name"]) for item in types] == [("10001", "Task"), ("10002", "Bug")]
    fields = (await jira.http.get(f"{path}/10001")).json()[names[1]]
    required = [item["fieldId"] for item in fields if item["required"] and not item["hasDefaultValue"]]
    assert required == ["project", "issuetype", "summary"]
    assert (await jira.http.get(f"{path}/7")).status_code == 400
    unknown = await jira.http.get(f"{version}/issue/createmeta/NONE/issuetypes")
    assert unknown.status_code in (400, 404)


async def test_who_and_what_jira_is(jira: Jira) -> None:
    """Version 3 presents itself as Cloud, version 2 as Data Center."""
    assert "accountId" in (await jira.http.get("3/myself")).json()
    assert "name" in (await jira.http.get("2/myself")).json()
    kinds = [(await jira.http.get(f"{version}/serverInfo")).json()["deploymentType"] for version in "32"]
    assert kinds == ["Cloud", "Server"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("3/search/jql", {"jql": 'labels = "x"', "startAt": 0}),
        ("3/search/jql", {"jql": 'labels = "x"', "maxResults": "5"}),
        ("3/search/jql", {"jql": 'labels = "x"', "fields": "labels"}),
        ("3/search/jql", {"jql": 'labels = "x"', "nextPageToken": "x"}),
        ("2/search", {"jql": 'labels = "x"', "startAt": -1}),
        ("3/issue/bulkfetch", {"issueIdsOrKeys": []}),
        ("3/issue/bulkfetch", {"issueIdsOrKeys": ["PROJ-1"] * 101}),
        ("3/issue/bulkfetch", {"issueIdsOrKeys": [10000]}),
    ],
)
async def test_malformed_questions(path: str, body: Any, jira: Jira) -> None:
    """A search or bulk fetch with wrong names, types or counts gets 400."""
    assert (await jira.http.post(path, json=body)).status_code == 400


async def test_what_is_no_request_to_jira(jira: Jira) -> None:
    """Broken JSON, unknown paths and wrong methods get 400, 404 and 405."""
    broken = await jira.http.post("3/issue", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, len(broken.json()["errorMessages"])) == (400, 1)
    assert (await jira.http.get("3/nothing")).status_code == 404
    assert (await jira.http.get("4/myself")).status_code == 404
    assert (await jira.http.delete("3/issue/PROJ-1")).status_code == 405


async def test_creates_at_once_get_different_keys(jira: Jira) -> None:
    """Twenty concurrent creates get twenty different keys."""
    answers = await asyncio.gather(*(jira.create() for _ in range(20)))
    keys = {answer.json()["key"] for answer in answers}
    assert keys == {f"PROJ-{number}" for number in range(1, 21)}


async def test_a_file_is_attached_and_read(jira: Jira) -> None:
    """A file that is uploaded as httpx does it is listed with the ticket, and its bytes come back."""
    await jira.create()
    content = bytes(range(256)) * 40
    answer = await jira.http.post(
        "3/issue/PROJ-1/attachments",
        files=[("file", ("F1-Maß.bin", content, "application/octet-stream"))],
        headers={"X-Atlassian-Token": "no-check"},
    )
    assert answer.status_code == 200
    fields = (await jira.http.get("3/issue/PROJ-1", params={"fields": "attachment"})).json()["fields"]
    assert fields["attachment"] == answer.json()
    assert (fields["attachment"][0]["filename"], fields["attachment"][0]["size"]) == ("F1-Maß.bin", 10_240)
    assert (await jira.http.get(fields["attachment"][0]["content"])).content == content
    without = await jira.http.post("3/issue/PROJ-1/attachments", files={"file": b"A"})
    assert (without.status_code, without.text) == (403, "XSRF check failed")


async def test_a_comment_and_its_properties(jira: Jira) -> None:
    """A comment is made with a property, listed with it, and its properties can be changed."""
    await jira.create()
    said = {"body": adf("Thread"), "properties": [{"key": "threadsync-thread", "value": {}}]}
    made = (await jira.http.post("3/issue/PROJ-1/comment", json=said)).json()
    path = f"3/comment/{made['id']}/properties/threadsync-thread"
    assert (await jira.http.put(path, json={"cut": True})).status_code == 200
    listed = (await jira.http.get("3/issue/PROJ-1/comment", params={"expand": "properties"})).json()
    assert listed["comments"][0]["properties"] == [{"key": "threadsync-thread", "value": {"cut": True}}]
    assert (await jira.http.delete(path)).status_code == 204


async def test_an_upload_whose_answer_is_lost(jira: Jira) -> None:
    """An upload whose connection ends leaves one file at once, later or none, as the fault says."""
    await jira.create()
    jira.site.fail("attachment.add", CommitThenDrop(), DropBeforeCommit(), CommitLate(30))
    for place in range(3):
        with pytest.raises(ENDED):
            await jira.http.post(
                "3/issue/PROJ-1/attachments",
                files={"file": (f"{place}.txt", b"A")},
                headers={"X-Atlassian-Token": "no-check"},
            )
    assert [file.filename for file in jira.site.issues[0].attachments] == ["0.txt"]
    jira.clock.advance(30)
    assert [file.filename for file in jira.site.issues[0].attachments] == ["0.txt", "2.txt"]


async def test_the_gateway_and_the_token_server(jira: Jira) -> None:
    """The gateway is at addresses of its own, where an OAuth token serves, and nothing of the site is."""
    found = (await jira.http.get(f"{jira.site_url}/_edge/tenant_info", auth=None)).json()
    credentials = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    issued = (await jira.http.request("POST", jira.token_url, json=credentials, auth=None)).json()
    headers = {"Authorization": f"Bearer {issued['access_token']}"}
    base = f"{jira.gateway_url}/ex/jira/{found['cloudId']}/rest/api/3"
    made = await jira.http.request("POST", f"{base}/issue", json=create_body(), headers=headers, auth=None)
    assert (made.status_code, made.json()["self"]) == (201, f"{base}/issue/10000")
    assert (await jira.http.get(f"{jira.gateway_url}/rest/api/3/myself")).status_code == 404
    jira.clock.advance(3600)
    expired = await jira.http.get(f"{base}/myself", headers=headers, auth=None)
    assert (expired.status_code, expired.json()) == (401, {"code": 401, "message": "Unauthorized"})

"""What follows a ticket in the sandbox Jira: comments, properties, attachments, links, and their faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.jira.faults import (
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    Redirect,
    Refuse,
    Slow,
    Status,
    Throttle,
    Truncated,
)
from sandbox.jira.issues import Issue
from sandbox.jira.replies import Drop, Outcome, Reply
from sandbox.jira.site import JiraSite
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import adf, answer, ask, create_body, read, upload

ISSUE = "3/issue/PROJ-1"
COMMENTS, FILES, LINKS = f"{ISSUE}/comment", f"{ISSUE}/attachments", f"{ISSUE}/remotelink"
NOTE = {"body": adf("Thread"), "properties": [{"key": "threadsync-thread", "value": {"cut": True}}]}
LINK = {"globalId": "slack=1", "object": {"url": "https://a.example", "title": "A"}}

AT_ONCE = (
    CommitThenDrop(),
    CommitThenStatus(),
    Hang(60, committed=True),
    Slow(60),
    Truncated(),
    NotJson(),
)
LATE = (CommitLate(30), CommitLate(30, "status"), CommitLate(30, "hang"))
NEVER = (
    DropBeforeCommit(),
    Status(),
    Hang(60, committed=False),
    Throttle(),
    Refuse(),
    HtmlRefusal(),
    Redirect(),
)


@dataclass(frozen=True)
class Step:
    """A call that changes something: its action, how it is sent, and how often it had its effect."""

    action: str
    send: Callable[[JiraSite], Outcome]
    effects: Callable[[Issue], int]
    repeats: int = 2
    """Effects of two calls: one for a call that puts the same thing in place of itself."""


def put_property(site: JiraSite) -> Outcome:
    return ask(site, "PUT", f"{ISSUE}/properties/color", "red")


def remove_link(site: JiraSite) -> Outcome:
    return ask(site, "DELETE", LINKS, globalId="old")


STEPS = (
    Step("comment.add", lambda site: ask(site, "POST", COMMENTS, NOTE), lambda issue: len(issue.comments)),
    Step(
        "attachment.add",
        lambda site: upload(site, FILES, ("a.txt", b"A")),
        lambda issue: len(issue.attachments),
    ),
    Step(
        "remotelink.put",
        lambda site: ask(site, "POST", LINKS, LINK),
        lambda issue: sum(link.global_id == "slack=1" for link in issue.remote_links),
        repeats=1,
    ),
    Step(
        "remotelink.remove",
        remove_link,
        lambda issue: int(all(link.global_id != "old" for link in issue.remote_links)),
        repeats=1,
    ),
    Step("property.put", put_property, lambda issue: int("color" in issue.properties), repeats=1),
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def site(clock: VirtualClock) -> JiraSite:
    """Create a site with a ticket that has one remote link."""
    site = JiraSite(clock=clock)
    ask(site, "POST", "3/issue", create_body())
    ask(site, "POST", LINKS, {**LINK, "globalId": "old"})
    return site


def named(step: Step) -> str:
    return step.action


@pytest.mark.parametrize("step", STEPS, ids=named)
@pytest.mark.parametrize(
    ("fault", "now", "later"),
    [
        *((fault, 1, 1) for fault in AT_ONCE),
        *((fault, 0, 1) for fault in LATE),
        *((fault, 0, 0) for fault in NEVER),
    ],
)
def test_what_a_fault_leaves_behind(
    fault: Fault, now: int, later: int, step: Step, site: JiraSite, clock: VirtualClock
) -> None:
    """A fault leaves the effect of a call at once, later or never, and the next call succeeds."""
    site.fail(step.action, fault)
    step.send(site)
    assert step.effects(site.issues[0]) == now
    clock.advance(30)
    assert step.effects(site.issues[0]) == later
    assert site.met == {type(fault).__name__: 1}
    if step.action == "remotelink.remove" and later:
        # It is gone already, and Jira says so.
        assert read(step.send(site))[0] == 404
        return
    reply = step.send(site)
    assert isinstance(reply, Reply)
    assert reply.status in (200, 201, 204)
    assert step.effects(site.issues[0]) == (1 if later == 0 else step.repeats)


@pytest.mark.parametrize("step", STEPS, ids=named)
def test_what_the_client_sees(step: Step, site: JiraSite) -> None:
    """Each call has a limit's 429, an edge's page and a connection that ends, as a create has."""
    site.fail(step.action, Throttle(7), HtmlRefusal(403), CommitThenDrop())
    limited, blocked, ended = (step.send(site) for _ in range(3))
    assert isinstance(limited, Reply)
    assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
    assert isinstance(blocked, Reply)
    assert (blocked.status, blocked.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert ended == Drop()


def test_an_action_has_faults_of_its_own(site: JiraSite) -> None:
    """A fault of an action spares the endpoint's other calls, one of the endpoint meets the next of any."""
    site.fail("comment.add", Status(502))
    site.fail("comment", Status(503))
    statuses = [
        read(ask(site, method, COMMENTS, body))[0]
        for method, body in (("GET", None), ("POST", NOTE), ("POST", NOTE), ("GET", None))
    ]
    assert statuses == [503, 502, 201, 200]
    assert [(call.endpoint, call.action) for call in site.calls[-2:]] == [
        ("comment", "comment.add"),
        ("comment", "comment.list"),
    ]
    with pytest.raises(ValueError, match="no such endpoint"):
        site.fail("comment.burn", Status())


def test_comments_come_in_pages(site: JiraSite) -> None:
    """Comments are listed oldest first or newest first, in pages, with their properties on request."""
    for number in range(5):
        said = {"body": adf(f"{number}"), "properties": [{"key": "n", "value": number}]}
        assert ask(site, "POST", COMMENTS, said) is not None
    page = answer(site, "GET", COMMENTS, startAt="1", maxResults="2", expand="properties")[1]
    assert (page["startAt"], page["maxResults"], page["total"]) == (1, 2, 5)
    assert [comment["properties"] for comment in page["comments"]] == [
        [{"key": "n", "value": 1}],
        [{"key": "n", "value": 2}],
    ]
    newest = answer(site, "GET", COMMENTS, orderBy="-created", maxResults="1")[1]["comments"]
    assert newest[0]["body"] == adf("4")
    assert "properties" not in newest[0]
    assert newest[0]["author"]["displayName"] == "threadsync"
    assert answer(site, "GET", f"{COMMENTS}/{newest[0]['id']}")[1] == newest[0]
    assert answer(site, "GET", f"{COMMENTS}/7")[0] == 404
    assert answer(site, "GET", COMMENTS, orderBy="votes")[0] == 400
    for place in ("x", "-1", "²", "9" * 5_000):
        assert answer(site, "GET", COMMENTS, startAt=place)[0] == 400


@pytest.mark.parametrize(
    ("version", "body", "status"),
    [
        ("3", {"body": "text"}, 400),
        ("3", {"body": {"type": "doc", "version": 1, "content": [{"type": "text", "text": ""}]}}, 400),
        ("3", {"body": adf("x" * 32_768)}, 400),
        ("3", {}, 400),
        ("3", {"body": adf("x"), "properties": {"key": 1}}, 400),
        ("3", {"body": adf("x"), "colour": "red"}, 400),
        ("2", {"body": adf("x")}, 400),
        ("2", {"body": ""}, 400),
        ("2", {"body": "x" * 32_768}, 400),
        ("2", {"body": "x" * 32_767}, 201),
    ],
)
def test_comments_are_checked(version: str, body: Any, status: int, site: JiraSite) -> None:
    """A comment is a document in version 3 and a text in version 2, of at most 32,767 characters."""
    assert answer(site, "POST", f"{version}/issue/PROJ-1/comment", body)[0] == status
    assert len(site.issues[0].comments) == (status == 201)


@pytest.mark.parametrize("owner", ["issue", "comment"])
def test_entity_properties(owner: str, site: JiraSite) -> None:
    """Properties of tickets and comments are listed, read, set, replaced and removed."""
    comment = answer(site, "POST", COMMENTS, NOTE)[1]["id"]
    path = f"{ISSUE}/properties" if owner == "issue" else f"3/comment/{comment}/properties"
    first = "threadsync" if owner == "issue" else "threadsync-thread"
    assert [item["key"] for item in answer(site, "GET", path)[1]["keys"]] == [first]
    assert read(ask(site, "PUT", f"{path}/state", {"sent": 1}))[0] == 201
    assert read(ask(site, "PUT", f"{path}/state", {"sent": 2}))[0] == 200
    assert answer(site, "GET", f"{path}/state") == (200, {"key": "state", "value": {"sent": 2}})
    assert read(ask(site, "DELETE", f"{path}/state"))[0] == 204
    for method in ("GET", "DELETE"):
        assert answer(site, method, f"{path}/state")[0] == 404
    assert read(ask(site, "PUT", f"{path}/state", "x" * 32_768))[0] == 400
    assert answer(site, "GET", "3/comment/7/properties")[0] == 404


def test_files_are_attached(site: JiraSite) -> None:
    """Uploaded files are in the ticket's fields with name, size and kind, and can be read."""
    status, added = read(
        upload(site, FILES, ("F1-plan.txt", b"Plan"), ("F2-Maß „x“.txt", b"--\r\nodd\r\n--"))
    )
    assert status == 200
    assert [(item["filename"], item["size"]) for item in added] == [
        ("F1-plan.txt", 4),
        ("F2-Maß „x“.txt", 11),
    ]
    fields = answer(site, "GET", ISSUE, fields="attachment")[1]["fields"]
    assert fields == {"attachment": added}
    assert answer(site, "GET", f"3/attachment/{added[0]['id']}")[1] == added[0]
    content = ask(site, "GET", f"3/attachment/content/{added[1]['id']}")
    assert isinstance(content, Reply)
    assert (content.body, content.headers["Content-Type"]) == (b"--\r\nodd\r\n--", "text/plain")
    assert added[0]["author"]["displayName"] == "threadsync"
    assert answer(site, "GET", "3/attachment/7")[0] == 404


def test_attachments_are_no_part_of_a_search(site: JiraSite) -> None:
    """A search for the usual fields tells no attachments; by name it does."""
    upload(site, FILES, ("a.txt", b"A"))
    body = {"jql": 'labels = "slk-abc"', "fields": ["*navigable"]}
    assert "attachment" not in answer(site, "POST", "3/search/jql", body)[1]["issues"][0]["fields"]
    body["fields"] = ["attachment"]
    found = answer(site, "POST", "3/search/jql", body)[1]["issues"][0]["fields"]
    assert [item["filename"] for item in found["attachment"]] == ["a.txt"]


def test_two_files_may_have_one_name(site: JiraSite) -> None:
    """A repeated upload makes a second file of the same name, as Jira does."""
    for _ in range(2):
        upload(site, FILES, ("a.txt", b"A"))
    assert [item.filename for item in site.issues[0].attachments] == ["a.txt", "a.txt"]


def test_uploads_that_jira_refuses(site: JiraSite) -> None:
    """Each refusal has its status, and nothing is attached by any of them."""
    good = ("a.txt", b"A")
    assert upload(site, FILES, good, x_other="1") == Reply(
        403, b"XSRF check failed", {"Content-Type": "text/plain;charset=UTF-8"}
    )
    plain = {"x_atlassian_token": "no-check", "content_type": "text/plain"}
    assert read(upload(site, FILES, good, **plain))[0] == 415
    assert read(upload(site, FILES, good, field="document"))[0] == 400
    assert read(upload(site, FILES))[0] == 400
    assert read(upload(site, "3/issue/PROJ-9/attachments", good))[0] == 404
    site.upload_limit = 3
    assert read(upload(site, FILES, ("b.txt", b"abcd")))[0] == 413
    assert read(upload(site, FILES, good, ("b.txt", b"abcd")))[0] == 413
    assert answer(site, "GET", "3/attachment/meta")[1] == {"enabled": True, "uploadLimit": 3}
    assert site.issues[0].attachments == ()
    assert read(upload(site, FILES, ("b.txt", b"abc")))[0] == 200


def test_a_plan_of_faults_is_told_the_names_of_files(site: JiraSite) -> None:
    """A plan can choose an upload by its file's name."""
    site.plan = lambda endpoint, body: (
        Status(502) if endpoint == "attachment" and "b.txt" in body.get("files", ()) else None
    )
    assert [read(upload(site, FILES, (name, b"x")))[0] for name in ("a.txt", "b.txt")] == [200, 502]


def test_a_link_is_removed_by_its_global_id(site: JiraSite) -> None:
    """Of two links the one with the id is removed, once."""
    ask(site, "POST", LINKS, LINK)
    assert read(ask(site, "DELETE", LINKS, globalId="old")) == (204, None)
    assert read(ask(site, "DELETE", LINKS, globalId="old"))[0] == 404
    assert [link["globalId"] for link in answer(site, "GET", LINKS)[1]] == ["slack=1"]


def test_late_links_with_one_id_are_one(site: JiraSite, clock: VirtualClock) -> None:
    """Two late puts of one link leave one link, whenever they come."""
    site.fail("remotelink.put", CommitLate(30), CommitLate(10))
    for title in ("first", "second"):
        ask(site, "POST", LINKS, {**LINK, "object": {"url": "https://a.example", "title": title}})
    clock.advance(30)
    assert [link.title for link in site.issues[0].remote_links if link.global_id == "slack=1"] == ["first"]


def test_a_late_change_of_a_deleted_ticket_is_none(site: JiraSite, clock: VirtualClock) -> None:
    """A comment that comes late for a ticket that was deleted brings nothing back."""
    site.fail("comment.add", CommitLate(30))
    ask(site, "POST", COMMENTS, NOTE)
    site.delete("PROJ-1")
    clock.advance(30)
    assert site.issues == ()

"""Calls for what follows a ticket: the requests, and failures that quote nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.thread_servers import parts_of
from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, CallFailed, JiraAccount, Rejected, Throttled
from worker.jira.client import JiraClient
from worker.jira.ticket_calls import TicketCalls, field_names, multipart

SECRET = "ocelot"
SAID = {"errorMessages": [SECRET], "errors": {"comment": SECRET, "customfield_1": SECRET, f"a {SECRET}": "x"}}
CALLS: dict[str, Callable[[TicketCalls], object]] = {
    "put_link": lambda calls: calls.put_link("1", "threadsync=slk-x", "https://x.y", "Slack thread"),
    "comment_properties": lambda calls: calls.comment_properties("1"),
    "add_comment": lambda calls: calls.add_comment("1", {"type": "doc"}, "threadsync-thread", {"cut": True}),
    "attachments": lambda calls: calls.attachments("1"),
    "attach": lambda calls: calls.attach("1", 'F1-ä"b.pdf', b"%PDF", "application/pdf"),
}


def ask(
    call: Callable[[TicketCalls], object], *answers: httpx.Response | Exception
) -> tuple[Any, list[httpx.Request]]:
    requests: list[httpx.Request] = []
    waiting = list(answers)

    async def handle(request: httpx.Request) -> httpx.Response:
        await request.aread()
        requests.append(request)
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    account = JiraAccount("https://example.com", "me@example.com", "hunter2")
    with JiraClient(account, httpx.MockTransport(handle)) as client:
        return call(TicketCalls(client)), requests


def failure(call: Callable[[TicketCalls], object], *answers: httpx.Response | Exception) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        ask(call, *answers)
    return caught.value


def test_a_comment_has_its_property() -> None:
    """A comment is one POST with the body and the property by which it is found again."""
    is_there, (request,) = ask(CALLS["add_comment"], httpx.Response(201, json={"id": "7"}))
    assert is_there is True
    assert (request.method, request.url.path) == ("POST", "/rest/api/3/issue/1/comment")
    assert json.loads(request.content) == {
        "body": {"type": "doc"},
        "properties": [{"key": "threadsync-thread", "value": {"cut": True}}],
    }


def test_a_file_is_attached_as_a_form() -> None:
    """An upload is one POST of a form, with the header that Jira asks for."""
    _, (request,) = ask(CALLS["attach"], httpx.Response(200, json=[{"id": "7"}]))
    assert request.url.path == "/rest/api/3/issue/1/attachments"
    assert request.headers["X-Atlassian-Token"] == "no-check"
    assert request.headers["Authorization"].startswith("Basic ")
    assert parts_of(request.headers["Content-Type"], request.content) == ('F1-ä"b.pdf', b"%PDF")
    assert b"Content-Type: application/pdf\r\n" in request.content


@given(st.text(max_size=50), st.binary(max_size=200), st.text(max_size=20))
def test_no_name_or_type_breaks_the_form(name: str, content: bytes, mimetype: str) -> None:
    """Whatever the name, the type and the content are, the form has one part with this content."""
    safe = name.encode("utf-8", "ignore").decode()
    form = multipart("boundary-x", safe, content, mimetype)
    head, _, rest = form.partition(b"\r\n\r\n")
    assert head.count(b"\r\n") == 2
    assert rest == content + b"\r\n--boundary-x--\r\n"


def test_all_pages_of_comments_are_read() -> None:
    """The properties of all comments are read, page after page."""
    pages = [
        httpx.Response(
            200,
            json={"total": 3, "comments": [{"properties": [{"key": "a", "value": 1}]}, {"id": "2"}]},
        ),
        httpx.Response(200, json={"total": 3, "comments": [{"properties": [{"key": "b", "value": 2}]}]}),
    ]
    found, requests = ask(CALLS["comment_properties"], *pages)
    assert found == ({"a": 1}, {}, {"b": 2})
    assert [request.url.params["startAt"] for request in requests] == ["0", "2"]
    assert requests[0].url.params["expand"] == "properties"


def test_names_of_attachments_are_read() -> None:
    """The names of the attachments are those in the ticket's field."""
    content = {"fields": {"attachment": [{"filename": "a.txt"}, {"id": "2"}, "junk"]}}
    found, (request,) = ask(CALLS["attachments"], httpx.Response(200, json=content))
    assert found == ("a.txt",)
    assert request.url.params["fields"] == "attachment"
    assert isinstance(failure(CALLS["attachments"], httpx.Response(200, json={"fields": {}})).answer, Unknown)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json=SAID), Rejected),
        (httpx.Response(413, json=SAID), Rejected),
        (httpx.Response(401, json=SAID), AuthProblem),
        (httpx.Response(403, json=SAID), AuthProblem),
        (httpx.Response(429, json=SAID), Throttled),
        (httpx.Response(503, text=SECRET), Unknown),
        (httpx.Response(404, text=SECRET), NotSent),
        (httpx.Response(405, text=SECRET), NotSent),
        (httpx.Response(403, text=SECRET), NotSent),
        (httpx.Response(200, text=SECRET), Unknown),
        (httpx.ReadError(SECRET), Unknown),
        (httpx.ConnectError(SECRET), NotSent),
    ],
)
def test_a_failure_quotes_nothing(call: str, answer: httpx.Response | Exception, kind: type[Any]) -> None:
    """Each failure is told apart, and says no word of what was sent."""
    failed = failure(CALLS[call], answer).answer
    assert isinstance(failed, kind)
    assert SECRET not in f"{failed!r} {failed.why} {getattr(failed, 'messages', ())}"
    if isinstance(failed, Rejected | AuthProblem):
        assert failed.messages == ("comment", "customfield_1")


@pytest.mark.parametrize("call", CALLS)
def test_a_sign_in_page_leaves_a_write_in_doubt(call: str) -> None:
    """A web page with status 200 leaves open whether a write was made; a read has failed."""
    page = httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"})
    is_write = call in ("put_link", "add_comment", "attach")
    assert isinstance(failure(CALLS[call], page).answer, Unknown if is_write else AuthProblem)


def test_a_ticket_that_has_gone_is_told_apart() -> None:
    """A ticket that Jira does not know has gone; for an upload that follows a look, attachments are off."""
    gone = httpx.Response(404, json={"errorMessages": ["There is no such issue."]})
    for call, value in (("put_link", False), ("add_comment", False), ("attachments", None)):
        assert ask(CALLS[call], gone)[0] is value
    assert ask(CALLS["comment_properties"], gone)[0] is None
    assert isinstance(failure(CALLS["attach"], gone).answer, Rejected)


@pytest.mark.parametrize("content", [{}, {"errors": []}, {"errors": {"x" * 51: "y", "a b": "z"}}])
def test_what_is_no_name_of_a_field_is_left_out(content: dict[str, Any]) -> None:
    """Only names that look like a field's are kept."""
    assert field_names(content) == ()

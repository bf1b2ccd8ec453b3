"""Meaning of Jira's responses, as a table without secrets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.http_once import NotSent, Unknown
from worker.jira.answers import (
    AuthProblem,
    CallFailed,
    CreateAnswer,
    Created,
    JiraAccount,
    Rejected,
    Throttled,
)
from worker.jira.classification import creation, failure

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
JIRAS = json.dumps({"errorMessages": [], "errors": {"summary": "is too long: MY SECRET PLAN"}}).encode()
HTML = b"<html><body>Request blocked</body></html>"
NOTHING = b""
SCOPE = b'{"code": 401, "message": "Unauthorized; scope does not match"}'
TICKET = b'{"id": "10001", "key": "PROJ-7", "self": "https://x"}'
DENIED = {"X-Authentication-Denied-Reason": "CAPTCHA_CHALLENGE; login-url=https://jira/login"}
ANONYMOUS = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}


def answer(status: int, body: bytes = NOTHING, headers: dict[str, str] | None = None) -> CreateAnswer:
    return creation(status, headers or {}, body, NOW)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (201, TICKET, {}, Created),
        (200, TICKET, {}, Created),
        (201, TICKET, ANONYMOUS, Created),
        (201, TICKET[:20], {}, Unknown),
        (201, NOTHING, {}, Unknown),
        (201, HTML, {}, Unknown),
        (201, b"[]", {}, Unknown),
        (201, b'{"id": "10001"}', {}, Unknown),
        (201, b'{"id": 10001, "key": null}', {}, Unknown),
        (201, b'{"id": "", "key": ""}', {}, Unknown),
        (201, b'{"id": "10001", "key": "proj-7"}', {}, Unknown),
        (201, b'{"id": "10001", "key": "PROJ-0"}', {}, Unknown),
        (201, b'{"id": "10001", "key": "PROJ-' + b"9" * 5_000 + b'"}', {}, Unknown),
        (201, b'{"id": "' + b"1" * 5_000 + b'", "key": "PROJ-7"}', {}, Unknown),
        (201, b'{"id": "1\\u0000", "key": "PROJ-7"}', {}, Unknown),
        (201, b'{"id": ' + b"1" * 10_000 + b', "key": "PROJ-7"}', {}, Unknown),
        (201, b"\xef\xbb\xbf" + TICKET, {}, Created),
        (201, b"\xff\xfe\xff", {}, Unknown),
        (201, b"[" * 100_000, {}, Unknown),
        (204, NOTHING, {}, Unknown),
        (400, JIRAS, {}, Rejected),
        (400, HTML, {}, NotSent),
        (400, NOTHING, {}, NotSent),
        (400, JIRAS, ANONYMOUS, AuthProblem),
        (413, JIRAS, {}, Rejected),
        (413, HTML, {}, Rejected),
        (404, JIRAS, {}, Rejected),
        (404, HTML, {}, Rejected),
        (405, JIRAS, {}, Rejected),
        (405, HTML, {}, Rejected),
        (410, JIRAS, {}, Rejected),
        (415, HTML, {}, Rejected),
        (407, HTML, {}, NotSent),
        (404, JIRAS, ANONYMOUS, AuthProblem),
        (422, JIRAS, {}, Rejected),
        (401, JIRAS, {}, AuthProblem),
        (401, HTML, {}, AuthProblem),
        (401, b"Client must be authenticated", {}, AuthProblem),
        (401, SCOPE, {}, AuthProblem),
        (403, JIRAS, {}, AuthProblem),
        (403, b'{"message": "no"}', {}, AuthProblem),
        (403, HTML, {}, NotSent),
        (403, HTML, DENIED, AuthProblem),
        (301, NOTHING, {}, AuthProblem),
        (302, HTML, {}, AuthProblem),
        (307, NOTHING, {}, AuthProblem),
        (429, JIRAS, {}, Throttled),
        (429, HTML, ANONYMOUS, Throttled),
        (402, JIRAS, {}, Unknown),
        (408, NOTHING, {}, Unknown),
        (409, JIRAS, {}, Unknown),
        (425, NOTHING, {}, Unknown),
        (500, JIRAS, {}, Unknown),
        (502, HTML, {}, Unknown),
        (503, HTML, {"Retry-After": "5"}, Unknown),
        (504, NOTHING, {}, Unknown),
        (522, HTML, {}, Unknown),
        (599, NOTHING, ANONYMOUS, Unknown),
    ],
)
def test_the_table(status: int, body: bytes, headers: dict[str, str], expected: type) -> None:
    """A response is a refusal only if there is surely no ticket; an unclear one is unknown."""
    found = answer(status, body, headers)
    assert type(found) is expected
    if not isinstance(found, Created):
        assert found.status == status
        assert found.why


@given(status=st.integers(100, 599), body=st.binary(max_size=200) | st.just(TICKET) | st.just(JIRAS))
def test_every_answer_means_something(status: int, body: bytes) -> None:
    """Any status and body has a meaning; only a 2xx with an id and a key is a ticket."""
    found = answer(status, body)
    assert isinstance(found, Created) == (200 <= status < 300 and body == TICKET)


def test_a_ticket_has_an_id_and_a_key() -> None:
    """A created ticket has its id, its key and Atlassian's id of the request."""
    created = answer(201, TICKET, {"X-AREQUESTID": "1x2", "atl-traceid": "abc", "x-request-id": "z"})
    assert created == Created("10001", "PROJ-7", "abc")
    assert answer(503, HTML, {"X-AREQUESTID": "1x2"}).trace_id == "1x2"
    assert answer(503, HTML).trace_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "Wed, 25 Nov 2026 12:01:00 GMT"}, 60.0),
        ({"Retry-After": "Wed, 25 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"X-RateLimit-Reset": "2026-11-25T12:10:00Z"}, 600.0),
        ({"X-RateLimit-Reset": "2026-11-25T12:10Z"}, 600.0),
        ({"X-RateLimit-Reset": "2026-11-25T12:10:00"}, 600.0),
        ({"X-RateLimit-Reset": "2026-11-25T14:00:00+02:00"}, 0.0),
        ({"Retry-After": "5", "X-RateLimit-Reset": "2026-11-25T12:10:00Z"}, 5.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "2026-11-25T12:10:00Z"}, 600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"X-RateLimit-Reset": "tomorrow"}, None),
        ({}, None),
        # A moment since 1970, in seconds and smaller units, by either header.
        ({"Retry-After": "1795608030"}, 30.0),
        ({"Retry-After": "1795608030000"}, 30.0),
        ({"Retry-After": "1795608030000000"}, 30.0),
        ({"Retry-After": "1795608030000000000"}, 30.0),
        ({"Retry-After": "1795600000"}, 0.0),
        ({"X-RateLimit-Reset": "1795608030"}, 30.0),
        # A wait beyond Jira's longest limit comes from another clock or unit.
        ({"Retry-After": "3601"}, 3600.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After": "3944678400"}, 3600.0),
        ({"Retry-After": "9" * 80}, 3600.0),
        ({"Retry-After": "9" * 5_000}, 3600.0),
        ({"Retry-After": "Sat, 25 Nov 2093 12:01:00 GMT"}, 3600.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -1200"}, 3600.0),
        ({"Retry-After": "Fri, 31 Dec 19999 23:59:59 GMT"}, None),
        ({"Retry-After": "Wed, 25 Nov 2026 14:01:00 +0200"}, 60.0),
        ({"Retry-After": "Wed, 25 Nov 2026 12:01:00 -0000"}, 60.0),
        ({"Retry-After": "Wed, 25 Nov 2026 12:01:00 +9999"}, None),
        ({"Retry-After": "Wed, 25 Nov 2026 07:01:00 EST"}, 60.0),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +1200"}, 0.0),
        ({"X-RateLimit-Reset": "2088-01-01T00:00:00Z"}, 3600.0),
        ({"X-RateLimit-Reset": "9999-12-31T23:59:59-14:00"}, 3600.0),
        ({"X-RateLimit-Reset": "10000-01-01T00:00:00Z"}, None),
        ({"Retry-After": "nan", "X-RateLimit-Reset": "2026-11-25T12:10Z"}, 600.0),
        ({"Retry-After": "-5", "X-RateLimit-Reset": "2026-11-25T12:10Z"}, 600.0),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """The wait is read from seconds, an HTTP date or an ISO date; a senseless one is None."""
    found = answer(429, NOTHING, headers)
    assert isinstance(found, Throttled)
    assert found.retry_after == seconds


@given(text=st.text(max_size=40))
def test_any_header_may_say_anything(text: str) -> None:
    """A strange Retry-After is read as None or as a bounded wait."""
    found = answer(429, NOTHING, {"Retry-After": text, "X-RateLimit-Reset": text})
    assert isinstance(found, Throttled)
    assert found.retry_after is None or 0 <= found.retry_after <= 3600


@given(seconds=st.integers() | st.floats())
def test_any_number_is_a_bounded_pause(seconds: float) -> None:
    """Any number in Retry-After is a wait of an hour at most, or None."""
    found = answer(429, NOTHING, {"Retry-After": str(seconds)})
    assert isinstance(found, Throttled)
    assert found.retry_after is None or 0 <= found.retry_after <= 3600


def test_which_limit_it_was() -> None:
    """The reason of a 429 is kept, because it tells which limit was reached."""
    found = answer(429, NOTHING, {"RateLimit-Reason": "jira-burst-based"})
    assert found == Throttled(None, "jira-burst-based", "too many requests (jira-burst-based)")


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ({"errorMessages": ["a", "b"], "errors": {"labels": "c"}}, ("a", "b", "labels: c")),
        ({"message": "gateway"}, ("gateway",)),
        ({"errorMessages": None, "errors": []}, ()),
        ({"errorMessages": [1, None, "x\x00y"], "errors": {"f": {"deep": 1}}}, ("xy", "f: {'deep': 1}")),
        ({"errorMessages": ["\ud800!"]}, ("!",)),
    ],
)
def test_jiras_own_words(content: dict[str, Any], messages: tuple[str, ...]) -> None:
    """Jira's own messages are kept, in a form that a database can store."""
    found = answer(400, json.dumps(content).encode())
    assert isinstance(found, Rejected)
    assert found.messages == messages


def test_jiras_words_are_limited() -> None:
    """Jira's messages are limited in number and length."""
    found = answer(400, json.dumps({"errorMessages": ["x" * 10_000] * 1000}).encode())
    assert isinstance(found, Rejected)
    assert sum(map(len, found.messages)) <= 20 * 500


@pytest.mark.parametrize(
    ("messages", "errors", "expected"),
    [
        ([], {"summary": "Summary can't exceed 255 characters."}, "draft"),
        ([], {"description": "The entered text is too long."}, "draft"),
        (
            ["We can't create this issue for you right now, it could be due to unsupported content"],
            {},
            "draft",
        ),
        (["INVALID_INPUT"], {}, "draft"),
        ([], {}, "draft"),
        ([], {"summary": "We do not talk about permissions to log in"}, "draft"),
        ([], {"reporter": "The reporter specified is not a user."}, "reporter"),
        ([], {"Reporter": "You do not have permission to set it"}, "reporter"),
        (["No."], {"reporter": "The reporter specified is not a user."}, "set_up"),
        ([], {"reporter": "cannot be set", "summary": "is too long"}, "set_up"),
        ([], {"reporter": "cannot be set", "labels": "cannot be set"}, "set_up"),
        ([], {"customfield_10010": "Team is required."}, "set_up"),
        ([], {"components": "Komponente ist erforderlich."}, "set_up"),
        ([], {"summary": "is too long", "customfield_10010": "Team is required."}, "set_up"),
        (
            [],
            {"labels": "Field 'labels' cannot be set. It is not on the appropriate screen."},
            "set_up",
        ),
        (
            [],
            {"description": "It is not on the appropriate screen, or unknown."},
            "set_up",
        ),
        ([], {"labels": "Das Feld kann nicht gesetzt werden."}, "set_up"),
        ([], {"issuetype": "Specify a valid issue type"}, "place"),
        ([], {"issuetype": "Der Vorgangstyp ist ungueltig."}, "place"),
        ([], {"project": "valid project is required"}, "place"),
        (["The issue type selected is invalid."], {}, "place"),
        (["This project is archived."], {}, "place"),
        ([], {"project": "You do not have permission to create issues in this project."}, "access"),
        (["Anonymous users do not have permission to create issues in this project."], {}, "access"),
        (["You are not logged in"], {"project": "valid project is required"}, "access"),
    ],
)
def test_whose_fault_a_refusal_is(messages: list[str], errors: dict[str, str], expected: str) -> None:
    """A refusal is attributed to the draft, the place or the configuration by Jira's messages."""
    found = answer(400, json.dumps({"errorMessages": messages, "errors": errors}).encode())
    assert isinstance(found, Rejected)
    assert found.about == expected


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"customfield_1": "Option id '7' is not valid"}, "draft"),
        ({"priority": "The priority selected is invalid."}, "draft"),
        ({"assignee": "User 'x' cannot be assigned issues."}, "draft"),
        ({"customfield_1": "is invalid", "summary": "is too long"}, "draft"),
        ({"customfield_1": "cannot be set. It is not on the appropriate screen."}, "set_up"),
        ({"customfield_2": "Team is required."}, "set_up"),
        ({"customfield_1": "is invalid", "customfield_2": "Team is required."}, "set_up"),
        ({"labels": "The label is invalid."}, "set_up"),
        ({"issuetype": "Specify a valid issue type"}, "place"),
    ],
)
def test_a_fault_of_a_field_that_was_sent_is_the_drafts(errors: dict[str, str], expected: str) -> None:
    """What Jira says of a field that was sent is for another draft; of one that was not, for an operator."""
    body = json.dumps({"errorMessages": [], "errors": errors}).encode()
    sent = ("project", "issuetype", "summary", "labels", "priority", "assignee", "customfield_1")
    found = creation(400, {}, body, NOW, sent)
    assert isinstance(found, Rejected)
    assert found.about == expected


@pytest.mark.parametrize(
    ("status", "expected"), [(404, "place"), (405, "place"), (410, "place"), (413, "draft"), (422, "set_up")]
)
def test_whose_fault_a_status_is(status: int, expected: str) -> None:
    """A refusal is attributed by its status alone where the status is clear."""
    found = answer(status, JIRAS)
    assert isinstance(found, Rejected)
    assert found.about == expected


def test_a_redirect_names_the_host_and_no_more() -> None:
    """A redirect is reported with its host only, because the rest may be a secret."""
    found = answer(302, HTML, {"Location": "https://login.example.com/sso?token=hunter2"})
    assert isinstance(found, AuthProblem)
    assert found.why == (
        "Jira answered 302, a redirect to https://login.example.com, perhaps to a login page"
    )
    for odd in ("https://[bad", "javascript:alert(1)", "/login.jsp", "http://" + "x" * 10_000):
        assert len(answer(301, HTML, {"Location": odd}).why) < 400  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, type(None)),
        (201, {"X-Seraph-LoginReason": "OK"}, type(None)),
        (200, ANONYMOUS, AuthProblem),
        (200, {"x-seraph-loginreason": "AUTHENTICATION_DENIED"}, AuthProblem),
        (404, ANONYMOUS, AuthProblem),
        (404, {}, Rejected),
        (402, {}, Rejected),
        (406, {}, Rejected),
        (410, {}, Rejected),
        (409, {}, Unknown),
        (408, {}, Unknown),
        (503, {}, Unknown),
        (200, {"Content-Type": "text/html"}, type(None)),
    ],
)
def test_an_answer_to_nobody_is_none(status: int, headers: dict[str, str], expected: type) -> None:
    """A success for an anonymous caller, as Jira Cloud sends for an expired token, is a failed login."""
    found = failure(status, headers, b"{}", NOW)
    assert type(found) is expected
    assert not isinstance(found, AuthProblem) or not found.is_page


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (HTML, "text/html", AuthProblem),
        (HTML, "application/json", AuthProblem),
        (b"\r\n <!DOCTYPE html><title>Log in</title>", "", AuthProblem),
        (b"Please log in", "text/html; charset=utf-8", AuthProblem),
        (b'{"issues": []}', "text/html", type(None)),
        (b"\xef\xbb\xbf{}", "text/plain", type(None)),
        (b"", "text/html", type(None)),
    ],
)
def test_a_page_is_no_answer(body: bytes, content_type: str, expected: type) -> None:
    """A login page is not read as a result of Jira's, although its status is 200 and its type may be JSON."""
    found = failure(200, {"content-type": content_type}, body, NOW)
    assert type(found) is expected
    assert not isinstance(found, AuthProblem) or found.is_page
    assert type(creation(201, {"content-type": content_type}, HTML, NOW)) is Unknown


def test_nothing_shows_the_draft_or_the_account() -> None:
    """No log line or exception text has the draft or the token; only `messages` has Jira's own words."""
    account = JiraAccount("https://x", "me@example.com", "hunter2")
    assert "hunter2" not in repr(account)
    assert "me@example.com" not in repr(account)
    for status in (400, 401, 403, 404, 413, 422, 429, 500):
        found = answer(status, JIRAS)
        assert not isinstance(found, Created)
        assert "SECRET" not in repr(found) + str(found) + found.why + str(CallFailed(found))
    rejected = answer(400, JIRAS)
    assert isinstance(rejected, Rejected)
    assert rejected.messages == ("summary: is too long: MY SECRET PLAN",)


@pytest.mark.parametrize(
    ("status", "body", "is_of_scope"),
    [
        (401, SCOPE, True),
        (401, b"Unauthorized; Scopes do not match", True),
        (401, b'{"errorMessages": ["insufficient SCOPE"]}', True),
        (401, b'{"code": 401, "message": "Unauthorized"}', False),
        (401, b'{"message": "microscopes"}', False),
        (401, b"x" * 5_000 + b" scope", False),
        (401, b"<html><th scope='col'>Log in</th></html>", False),
        (403, SCOPE, False),
    ],
)
def test_a_missing_scope_is_told_from_a_wrong_login(status: int, body: bytes, is_of_scope: bool) -> None:
    """A 401 speaks of a scope in Jira's words, not in a web page; for reads and creates alike."""
    for found in (answer(status, body), failure(status, {}, body, NOW)):
        assert isinstance(found, AuthProblem)
        assert (found.is_of_scope, found.is_renewed) == (is_of_scope, False)

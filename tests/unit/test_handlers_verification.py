"""Verification and parsing of Slack's requests."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.payload import MalformedPayload, parse_payload
from handlers.verification import RequestVerifier
from sandbox.slack.requests import FORM, JSON, sign, signed_request, slash_command
from tests.support.slack_app import SECRET

VERIFIER = RequestVerifier(SECRET)
BODY = b'{"type": "url_verification"}'
HEADERS = ("x-slack-request-timestamp", "x-slack-signature")


def test_a_signed_request_is_slacks() -> None:
    """A signed request is Slack's, whatever its bytes are."""
    for body in (BODY, b"", b"\xff\x00", "grüße".encode()):
        assert VERIFIER.is_from_slack(body, sign(SECRET, body).headers)


@pytest.mark.parametrize(
    ("age", "expected"), [(0, True), (295, True), (-295, True), (305, False), (-305, False)]
)
def test_a_request_is_good_for_five_minutes(age: int, expected: bool) -> None:
    """A request is valid for five minutes in both directions, because clocks differ."""
    headers = sign(SECRET, BODY, at=time.time() - age).headers
    assert VERIFIER.is_from_slack(BODY, headers) is expected


def test_one_changed_byte_is_noticed() -> None:
    """A changed byte in body, timestamp or secret makes the signature wrong."""
    headers = dict(sign(SECRET, BODY).headers)
    later = {**headers, HEADERS[0]: str(int(headers[HEADERS[0]]) + 1)}
    assert not VERIFIER.is_from_slack(BODY + b" ", headers)
    assert not VERIFIER.is_from_slack(BODY, later)
    assert not RequestVerifier(SECRET[1:]).is_from_slack(BODY, headers)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "value", [None, "", "x", "v0=", "v0=é", "1e9", "-1", "9" * 400, "9" * 5000, "\u0661"]
)
def test_odd_headers_are_refused_not_stumbled_over(header: str, value: str | None) -> None:
    """Odd headers are refused without an error: missing, no number, too large, not ASCII."""
    headers = dict(sign(SECRET, BODY).headers)
    if value is None:
        del headers[header]
    else:
        headers[header] = value
    assert VERIFIER.is_from_slack(BODY, headers) is False


@given(st.binary(), st.text(), st.text())
def test_no_forgery_is_taken_or_stumbled_over(body: bytes, timestamp: str, signature: str) -> None:
    """A forgery is refused without an error, whatever its body and headers."""
    assert VERIFIER.is_from_slack(body, {HEADERS[0]: timestamp, HEADERS[1]: signature}) is False


def parse(payload: dict[str, Any]) -> dict[str, Any]:
    request = signed_request(SECRET, payload)
    return parse_payload(request.body, request.headers["content-type"])


@pytest.mark.parametrize("kind", ["event_callback", "block_actions"])
def test_json_and_json_in_a_form_are_parsed(kind: str) -> None:
    """An event as JSON and a click as JSON in a form are parsed."""
    payload = {"type": kind, "event": {"text": "Grüße & <@U1>"}}
    assert parse(payload) == payload


def test_a_form_is_parsed() -> None:
    """A slash command's form is parsed; empty fields are kept, and a text like JSON stays text."""
    payload = slash_command('{"payload": 1} & more', "C0123", "U0456")
    assert parse(payload) == payload
    assert parse_payload(b"text=&ssl_check=1", f"{FORM}; charset=utf-8") == {"text": "", "ssl_check": "1"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"junk", JSON),
        (b"\xff\xfe", JSON),
        (b"\xff\xfe=1", FORM),
        (b"[]", JSON),
        (b"null", JSON),
        (b'"text"', JSON),
        (b"1" * 5000, JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":' * 100_000, FORM),
        (b"payload=junk", FORM),
        (b"payload=[]", FORM),
        (b"payload=", FORM),
        (b'{"type": "event_callback"}', JSON),
        (b'{"type": "event_callback", "event": null}', JSON),
        (b'{"type": "event_callback", "event": "app_mention"}', JSON),
        (b'{"event": [{}]}', JSON),
        (b'{"type": "block_actions", "actions": []}', JSON),
        (b'{"type": "block_actions", "actions": ["x"]}', JSON),
    ],
)
def test_what_slack_never_sends_is_malformed(body: bytes, content_type: str) -> None:
    """A body that Slack never sends is malformed, and the error does not quote it."""
    with pytest.raises(MalformedPayload) as caught:
        parse_payload(body, content_type)
    assert len(str(caught.value)) < 100


@given(st.binary() | st.text().map(lambda text: json.dumps(text).encode()), st.sampled_from([JSON, FORM, ""]))
def test_any_bytes_are_an_object_or_malformed(body: bytes, content_type: str) -> None:
    """Any bytes are parsed to an object or refused as malformed."""
    with contextlib.suppress(MalformedPayload):
        assert isinstance(parse_payload(body, content_type), dict)

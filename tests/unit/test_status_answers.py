"""Meaning of Slack's responses for a status message, and the time of the next attempt."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker.http_once import NotSent, Unknown
from worker.status_message.answers import Done, Refused, Throttled, read
from worker.status_message.decide import (
    LONGEST_PAUSE_SECONDS,
    MOST_REFUSALS,
    Later,
    Park,
    Replace,
    Stop,
    decide,
)
from worker.text.slack_errors import NOT_EDITABLE, OF_FORM, OF_INSTALLATION


@pytest.mark.parametrize(
    ("status", "headers", "content", "expected"),
    [
        (200, {}, b'{"ok": true, "ts": "1.2"}', Done({"ok": True, "ts": "1.2"})),
        (200, {}, b'{"ok": false, "error": "channel_not_found"}', Refused("channel_not_found")),
        (200, {}, b'{"ok": false, "error": "internal_error"}', Unknown("internal_error")),
        (200, {}, b'{"ok": false}', Unknown("an answer without a reason")),
        (200, {}, b'{"ok": false, "error": "<b>sorry</b>, C0123"}', Unknown("an answer without a reason")),
        (200, {}, b'{"ok": 1}', Unknown("an answer without a reason")),
        (200, {}, b'{"error": "channel_not_found"}', Unknown("channel_not_found")),
        (403, {}, b'{"ok": false, "error": "token_revoked"}', Refused("token_revoked")),
        (403, {}, b'{"ok": true}', Unknown("HTTP 403")),
        (404, {}, b"<html>", Unknown("HTTP 404")),
        (500, {}, b'{"ok": false, "error": "token_revoked"}', Unknown("HTTP 500")),
        (200, {}, b'<html>{"ok": true}', Unknown("an answer that is no JSON")),
        (200, {"Retry-After": "3"}, b'{"ok": false, "error": "ratelimited"}', Throttled(3)),
        (429, {"retry-after": "7"}, b"", Throttled(7)),
        (429, {"Retry-After": "soon"}, b"", Throttled(30)),
        (429, {"Retry-After": "99999999"}, b"", Throttled(3600)),
        (429, {"Retry-After": "0"}, b"", Throttled(1)),
        (429, {"Retry-After": "9" * 400}, b"", Throttled(3600)),
        (429, {"Retry-After": "-5"}, b"", Throttled(30)),
        (429, {"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"}, b"", Throttled(30)),
        (429, {}, b"", Throttled(30)),
        (503, {}, b"<html>", Unknown("HTTP 503")),
        (302, {}, b"", Unknown("HTTP 302")),
        (200, {}, b'{"ok": tr', Unknown("an answer that is no JSON")),
        (200, {}, b"[" * 100_000, Unknown("an answer that is no JSON")),
        (200, {}, b"[]", Unknown("an answer that is no JSON object")),
    ],
)
def test_an_answer_is_read(status: int, headers: dict[str, str], content: bytes, expected: Any) -> None:
    """A response is done only with `ok: true`, and a refusal only by a code that Slack refuses with."""
    assert read(status, httpx.Headers(headers), content) == expected


@pytest.mark.parametrize(
    ("answer", "failures", "refusals", "expected"),
    [
        (Throttled(7), 3, 2, Later(7, 3, 2)),
        (NotSent("ConnectError"), 0, 0, Later(5, 1)),
        (Unknown("HTTP 503"), 0, 0, Later(5, 1)),
        (Unknown("HTTP 503"), 1, 4, Later(10, 2, 4)),
        (Unknown("HTTP 503"), 6, 0, Later(320, 7)),
        (Unknown("HTTP 503"), 7, 0, Later(LONGEST_PAUSE_SECONDS, 8)),
        (NotSent("ConnectError"), 10_000, 0, Later(LONGEST_PAUSE_SECONDS, 10_001)),
        (Refused("message_not_found"), 0, 0, Later(5, 1)),
        (Refused("channel_not_found"), 2, 0, Later(60, 0, 1, "channel_not_found")),
        (Refused("is_archived"), 0, 3, Later(480, 0, 4, "is_archived")),
        (Refused("not_in_channel"), 0, 28, Later(3600, 0, 29, "not_in_channel")),
        (Refused("not_in_channel"), 0, MOST_REFUSALS, Stop("not_in_channel")),
        (Refused("of_next_year"), 10_000, 0, Later(60, 0, 1, "of_next_year")),
        (Refused("invalid_blocks"), 0, 0, Stop("invalid_blocks")),
        (Refused("edit_window_closed"), 0, 0, Replace("edit_window_closed")),
        (Refused("cant_update_message"), 5, 5, Replace("cant_update_message")),
        (Refused("invalid_auth"), 0, MOST_REFUSALS, Park("invalid_auth")),
    ],
)
def test_what_follows_a_failure(answer: Any, failures: int, refusals: int, expected: Any) -> None:
    """A failure leads to a wait, an end, a new message or a parked one, by its kind and number."""
    assert decide(answer, failures, refusals) == expected


def test_refusals_are_tried_for_a_day() -> None:
    """A refusal is tried again for a day, in which the bot may be invited or the channel restored."""
    pauses = [decide(Refused("is_archived"), 0, refusals) for refusals in range(MOST_REFUSALS)]
    seconds = sum(pause.seconds for pause in pauses if isinstance(pause, Later))
    assert 86_400 - 3600 <= seconds <= 86_400 + 3600


@pytest.mark.parametrize(
    "error",
    [
        "invalid_auth",
        "token_revoked",
        "token_expired",
        "account_inactive",
        "not_authed",
        "missing_scope",
        "team_access_not_granted",
        "org_login_required",
        "ekm_access_denied",
    ],
)
def test_a_fault_of_the_installation_parks(error: str) -> None:
    """A refusal that concerns the whole installation parks the message."""
    assert decide(Refused(error), 0, 0) == Park(error)


def test_no_refusal_is_of_two_kinds() -> None:
    """No code of a refusal belongs to two groups."""
    assert not (OF_INSTALLATION & OF_FORM | OF_INSTALLATION & NOT_EDITABLE | OF_FORM & NOT_EDITABLE)

"""What an answer of Slack's means for a status message, and when it is tried again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker.slack_status.answers import Done, NotSent, Refused, Throttled, Unknown, read
from worker.slack_status.decide import LONGEST_PAUSE_SECONDS, Later, Stop, decide


@pytest.mark.parametrize(
    ("status", "headers", "content", "expected"),
    [
        (200, {}, b'{"ok": true, "ts": "1.2"}', Done({"ok": True, "ts": "1.2"})),
        (200, {}, b'{"ok": false, "error": "channel_not_found"}', Refused("channel_not_found")),
        (200, {}, b'{"ok": false, "error": "internal_error"}', Unknown("internal_error")),
        (200, {}, b'{"ok": false}', Unknown("None")),
        (200, {"Retry-After": "3"}, b'{"ok": false, "error": "ratelimited"}', Throttled(3)),
        (429, {"retry-after": "7"}, b"", Throttled(7)),
        (429, {"Retry-After": "soon"}, b"", Throttled(30)),
        (429, {"Retry-After": "99999999"}, b"", Throttled(3600)),
        (429, {"Retry-After": "0"}, b"", Throttled(1)),
        (503, {}, b"<html>", Unknown("HTTP 503")),
        (302, {}, b"", Unknown("HTTP 302")),
        (200, {}, b'{"ok": tr', Unknown("an answer that is no JSON")),
        (200, {}, b"[" * 100_000, Unknown("an answer that is no JSON")),
        (200, {}, b"[]", Unknown("an answer that is no JSON object")),
    ],
)
def test_an_answer_is_read(status: int, headers: dict[str, str], content: bytes, expected: Any) -> None:
    """Only `ok: true` is done, and only what Slack says it refuses was surely not done."""
    assert read(status, httpx.Headers(headers), content) == expected


@pytest.mark.parametrize(
    ("answer", "failures", "expected"),
    [
        (Throttled(7), 3, Later(7, 3)),
        (NotSent("ConnectError"), 0, Later(5, 1)),
        (Unknown("HTTP 503"), 0, Later(5, 1)),
        (Unknown("HTTP 503"), 1, Later(10, 2)),
        (Unknown("HTTP 503"), 6, Later(320, 7)),
        (Unknown("HTTP 503"), 7, Later(LONGEST_PAUSE_SECONDS, 8)),
        (NotSent("ConnectError"), 10_000, Later(LONGEST_PAUSE_SECONDS, 10_001)),
        (Refused("message_not_found"), 0, Later(5, 1)),
        (Refused("channel_not_found"), 2, Stop("channel_not_found")),
        (Refused("edit_window_closed"), 0, Stop("edit_window_closed")),
    ],
)
def test_what_follows_a_failure(answer: Any, failures: int, expected: Any) -> None:
    """Wait as told; back off up to ten minutes; stop where it would fail again."""
    assert decide(answer, failures) == expected

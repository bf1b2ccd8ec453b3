"""Detection of a web process's wrong clock, by the timestamps that Slack signs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
import structlog

from handlers.slack_clock import SlackClock
from sandbox.slack.requests import sign
from tests.support.documents import ROOT
from tests.support.faketime import clock_ahead, needs_faketime
from tests.support.slack_app import SECRET

BODY = b'{"type": "url_verification"}'
_VERIFY = """
import json, sys
from handlers.verification import RequestVerifier
secret, headers = json.load(sys.stdin)
verifier = RequestVerifier(secret)
print([verifier.is_from_slack(b'{"type": "url_verification"}', headers) for _ in range(5)])
"""


@pytest.mark.parametrize(
    ("ages", "skew"),
    [
        ([], 0.0),
        ([0.4, 0.9, 0.2, 0.6, 0.1], 0.0),
        # Slow requests, and one quick request.
        ([9.0, 8.0, 30.0, 2.5, 9.0], 1.5),
        ([9.0, 8.0, 30.0, 0.5, 9.0], 0.0),
        # Too few requests to tell a slow network from a wrong clock.
        ([9.0, 9.0, 9.0, 9.0], 0.0),
        ([9.0, 9.0, 9.0, 9.0, 8.0], 7.0),
        # A request from the future, which no slow network explains.
        ([-4.0], -4.0),
        # The clock was set right meanwhile.
        ([-4.0, 0.1, 0.2, 0.3, 0.4, 0.5], 0.0),
    ],
)
def test_the_quickest_request_tells(ages: Sequence[float], skew: float) -> None:
    """The skew is judged by the quickest request, because others may have been slow."""
    clock = SlackClock()
    for age in ages:
        clock.heard(1_700_000_000.0, 1_700_000_000.0 + age)
    assert clock.skew == skew


def test_a_stranger_does_not_silence_what_is_known() -> None:
    """A stale timestamp, which any stranger can send, does not hide the evidence of signed ones."""
    now = 1_000.0
    clock = SlackClock(lambda: now)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            clock.doubted(1_700_000_000.0, 1_700_001_000.0)
            clock.heard(1_700_000_060.0, 1_700_000_000.0)
            now += 300
    told = [entry["event"] for entry in logs]
    assert told == ["clock may not be Slack's", "clock is not Slack's"] * 2


@needs_faketime
@pytest.mark.parametrize(
    ("seconds", "taken", "said"),
    [(0, True, False), (60, True, True), (-60, True, True), (600, False, True), (-600, False, True)],
)
def test_a_process_whose_clock_is_wrong_says_so(seconds: int, taken: bool, said: bool) -> None:
    """A process with a wrong clock reports it once, also where it refuses all of Slack's requests."""
    headers = dict(sign(SECRET, BODY, at=time.time()).headers)
    wrong = clock_ahead(seconds) if seconds else {}
    done = subprocess.run(
        [sys.executable, "-c", _VERIFY],
        input=json.dumps([SECRET, headers]),
        env={**os.environ, "PYTHONPATH": str(ROOT), **wrong},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert str([taken] * 5) in done.stdout
    output = done.stdout + done.stderr
    assert output.count("clock is not Slack's") == said
    if said:
        assert ("ahead_seconds=-" in output) == (seconds < 0)

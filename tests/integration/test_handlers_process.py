"""The web process on a real port: uvicorn, signals, bytes on the wire, and its log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.slack.requests import SlackRequest, app_mention, sign, signed_request, slash_command
from tests.support.slack_app import CHANNEL, SECRET, THREAD, USER, queued
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

TOKEN = "xoxb-not-to-be-logged"
NOWHERE = "127.0.0.1:1"


def web_process(folder: Path, **env: str) -> WebProcess:
    """Start a web process with a token that must not be logged; ``env`` overrides the absent servers."""
    settings = {
        "SLACK_BOT_TOKEN": TOKEN,
        "SLACK_API_URL": f"http://{NOWHERE}/api/",
        "CELERY_BROKER_URL": f"redis://{NOWHERE}/0",
        **env,
    }
    return WebProcess({**os.environ, **settings}, folder / "web.log")


@pytest.fixture
def web(tmp_path: Path, broker_url: str) -> Iterator[WebProcess]:
    with web_process(tmp_path, CELERY_BROKER_URL=broker_url, LOG_LEVEL="DEBUG") as web:
        yield web


def run_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with only ``env`` in its environment."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_the_app_connects_to_nothing_and_loads_no_driver() -> None:
    """Importing the app connects to nothing and loads no psycopg."""
    code = "import sys, handlers.asgi, handlers.socket_mode; print([m for m in sys.modules if 'psyco' in m])"
    done = run_python(
        code,
        SLACK_SIGNING_SECRET="s",
        SLACK_BOT_TOKEN="xoxb-1",
        CELERY_BROKER_URL=f"redis://{NOWHERE}/0",
        DATABASE_URL=f"postgresql://{NOWHERE}/x",
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_every_missing_setting_is_named_at_once() -> None:
    """Every missing setting is named in one InvalidSettings."""
    done = run_python("import handlers.asgi")
    assert done.returncode == 1
    assert "InvalidSettings" in done.stderr
    for name in ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "CELERY_BROKER_URL"):
        assert name in done.stderr


def test_a_process_without_a_broker_lives_and_is_not_ready(tmp_path: Path) -> None:
    """A web process without a broker starts, reports it as away, and answers an event with 503."""
    with web_process(tmp_path) as web:
        answer = httpx.get(f"{web.url}/readyz")
        assert (answer.status_code, answer.json()["broker"]) == (503, "away")
        started = time.monotonic()
        mention = signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=THREAD))
        assert web.deliver(mention).status_code == 503
        assert time.monotonic() - started < 2


def test_sigterm_ends_it_in_good_order(web: WebProcess, broker_url: str) -> None:
    """SIGTERM ends the web process within 6 s with nothing left open."""
    assert web.deliver(signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=THREAD))).status_code == 200
    started = time.monotonic()
    web.child.signal(signal.SIGTERM)
    wait_until(lambda: web.child.poll() is not None, "the process has ended")
    assert time.monotonic() - started < 6
    assert web.child.poll() in (0, -signal.SIGTERM)
    assert "Unclosed" not in web.log
    assert "Traceback" not in web.log
    assert len(queued(broker_url)) == 1


def test_bodies_on_the_wire(web: WebProcess) -> None:
    """A body that is too large is refused while it is sent, and arbitrary bytes are refused without harm."""

    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    # A client that is still sending may miss the response; the end of the connection is enough.
    with contextlib.suppress(httpx.TransportError):
        headers = {**sign("another secret", b"").headers}
        assert httpx.post(f"{web.url}/slack/events", content=chunks(), headers=headers).status_code == 413
    assert web.deliver(sign(SECRET, b"\xff\xfe")).status_code == 400
    assert web.deliver(SlackRequest(b"\x00" * 1000, {})).status_code == 401
    assert httpx.get(f"{web.url}/healthz").status_code == 200


def test_a_client_that_hangs_up_is_no_fault_of_ours(web: WebProcess) -> None:
    """A client that hangs up in mid-request leaves no traceback, and the next request is served."""
    head = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"
    port = int(web.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
    assert httpx.get(f"{web.url}/healthz").status_code == 200
    assert "Traceback" not in web.log


def test_all_logs_have_one_format(tmp_path: Path) -> None:
    """All log lines are JSON with LOG_FORMAT=json, uvicorn's too."""
    with web_process(tmp_path, LOG_FORMAT="json") as web:
        web.deliver(SlackRequest(b"", {}))
        web.child.stop(signal.SIGTERM, grace=10)
    loggers = {json.loads(line)["logger"] for line in web.log.splitlines()}
    assert {"uvicorn.error", "uvicorn.access", "handlers.slack_endpoint"} <= loggers


def test_what_users_write_is_not_logged(web: WebProcess) -> None:
    """No text, body, token or secret is logged, even at DEBUG; a thread's id is."""
    mark = "only-for-your-eyes"
    for payload in (
        app_mention(CHANNEL, USER, mark, ts=THREAD),
        slash_command(f"ready {mark}", CHANNEL, USER),
        slash_command(mark, CHANNEL, USER),
        {"type": "block_suggestion", "action_id": "a", "value": mark},
        {"type": "event_callback", "event": {"type": mark, "text": mark}},
        {"type": "event_callback", "event": mark},
        {"type": "view_submission", "view": {"callback_id": "v", "state": {"x": mark}}},
    ):
        assert web.deliver(signed_request(SECRET, payload)).status_code in (200, 400)
        assert web.deliver(signed_request("wrong", payload)).status_code == 401
    wait_until(lambda: "command enqueued" in web.log, "the event is logged")
    assert THREAD in web.log
    assert [secret for secret in (mark, TOKEN, SECRET) if secret in web.log] == []

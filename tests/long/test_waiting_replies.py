"""First replies in threads, which outlive their web process while Slack refuses the token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.faults import Dropped
from sandbox.slack.requests import app_mention, signed_request
from sandbox.slack.server import SlackSandbox
from tests.support.installation import Installation
from tests.support.slack_app import SECRET
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

POST = "chat.postMessage"


def web_process(installation: Installation, slack: SlackSandbox, folder: Path) -> WebProcess:
    settings = {
        "SLACK_BOT_TOKEN": slack.token,
        "SLACK_API_URL": slack.api_url,
        "CELERY_BROKER_URL": installation.broker_url,
    }
    return WebProcess({**os.environ, **settings}, folder / "web.log")


@pytest.mark.parametrize("trouble", ["token_revoked", "answer lost"])
def test_a_reply_outlives_the_web_process(trouble: str, installation: Installation, tmp_path: Path) -> None:
    """Replies that wait for Slack survive the web process's death: a worker posts each one once."""
    channel, threads = "C0WAITS", [f"170000000{number}.000100" for number in range(3)]
    with SlackSandbox() as slack:
        if trouble == "token_revoked":
            slack.refuses = trouble
        else:
            slack.fail(POST, *[Dropped()] * len(threads))
        token = {"SLACK_BOT_TOKEN": slack.token, "SLACK_API_URL": slack.api_url}
        with installation.worker(**token) as worker:
            with web_process(installation, slack, tmp_path) as web:
                for thread in threads:
                    request = signed_request(SECRET, app_mention(channel, "U0456", "hi", ts=thread))
                    assert web.deliver(request).status_code == 200
                wait_until(lambda: worker.log.count("reply waits") >= len(threads), "they wait in the broker")
            slack.refuses = None
            wait_until(lambda: len(slack.messages) == len(threads), "each thread has it", timeout=60)
            wait_until(
                lambda: worker.log.count("task done") >= 2 * len(threads), "no reply waits", timeout=60
            )
        assert sorted(str(message.thread_ts) for message in slack.messages) == threads

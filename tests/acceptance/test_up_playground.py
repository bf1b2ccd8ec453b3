"""`threadsync up` without settings: the playground, on loopback, with servers of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from sandbox.playground.guard import TOKEN_HEADER
from tests.support.playground import ADA, CHANNEL
from tests.support.up import JIRA, Up
from tests.support.waiting import wait_until
from worker.local.sandboxed import SECRET_VARIABLE

WITHOUT_SETTINGS = dict.fromkeys(JIRA, "")


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Start one without any setting of Slack, Jira or servers."""
    up = Up(tmp_path_factory.mktemp("playing") / "data", "--without-flower", **WITHOUT_SETTINGS)
    try:
        yield up.wait_until_ready()
    finally:
        up.end()


def act(playing: Up, act: str, **asked: object) -> httpx.Response:
    """Do what the page does."""
    site = playing.address("Playground")
    page = httpx.get(site)
    token = re.search(r'name="playground-token" content="([^"]+)"', page.text)
    assert token, page.text
    headers = {"origin": site.removesuffix("/playground/"), TOKEN_HEADER: token[1]}
    return httpx.post(f"{site}act/{act}", json=asked, headers=headers)


def test_it_leads_to_the_playground(playing: Up) -> None:
    """`up` prints the playground's address, and the start page leads there."""
    site = playing.address("Playground")
    assert site.endswith("/playground/")
    assert f"Try it in a browser: {site}" in playing.output
    assert f'href="{site}"' in httpx.get(playing.address("Start page")).text
    assert "is not connected" not in playing.output


def test_a_mention_goes_the_whole_way(playing: Up) -> None:
    """A mention on the page becomes a session, whose reply is on the page."""
    root = act(playing, "message", user=ADA, channel=CHANNEL, text="it broke, @threadsync").json()["ts"]

    def replies() -> list[str]:
        messages = httpx.get(f"{playing.address('Playground')}state").json()["messages"]
        return [item["text"] for item in messages if item.get("thread_ts") == root and "bot_id" in item]

    wait_until(replies, "the bot has replied", timeout=30)
    assert "keeping track" in replies()[0]


def test_only_this_machine_reaches_it(playing: Up) -> None:
    """The page, the Slack, the Jira and its gateway listen on loopback alone."""
    (process,) = [item for item in playing.processes() if "sandbox.playground" in item.cmdline()]
    listening = [item.laddr for item in process.net_connections() if item.status == psutil.CONN_LISTEN]
    assert len(listening) == 4
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_its_process_has_no_setting_of_ours(playing: Up) -> None:
    """The playground's process has the signing secret, and neither a database nor a broker."""
    (process,) = [item for item in playing.processes() if "sandbox.playground" in item.cmdline()]
    environ = process.environ()
    assert environ[SECRET_VARIABLE] == playing.env["SLACK_SIGNING_SECRET"]
    assert not {"DATABASE_URL", "CELERY_BROKER_URL", "SLACK_BOT_TOKEN", "JIRA_API_TOKEN"} & set(environ)
    secrets = (environ[SECRET_VARIABLE], playing.env["SLACK_BOT_TOKEN"], playing.env["JIRA_API_TOKEN"])
    lines = [" ".join(item.cmdline()) for item in playing.processes()]
    assert [line for line in lines for secret in secrets if secret in line] == []


def test_a_worker_is_killed_and_comes_back(playing: Up) -> None:
    """The page's button kills the worker that makes tickets, and `up` starts it again."""
    state = httpx.get(f"{playing.address('Playground')}state").json()
    before = {item["name"]: item["pid"] for item in state["workers"]}
    assert psutil.Process(before["syncs"]).is_running()
    told = act(playing, "kill", name="syncs").json()["sentence"]
    assert str(before["syncs"]) in told
    wait_until(lambda: "syncs is back" in playing.output, "the worker is back", timeout=60)


def test_real_settings_are_refused_on_its_folder(playing: Up, tmp_path: Path) -> None:
    """With a real token the playground's folder is refused; elsewhere no playground is started."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "kind").write_text("sandbox\n")
    up = Up(data)
    try:
        assert up.process.wait(30) == 1
        assert "threads of the playground" in up.output
        assert "Traceback" not in up.output
    finally:
        up.end()

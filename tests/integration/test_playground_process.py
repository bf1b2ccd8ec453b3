"""The playground over the network: its feed, its port, the workers that it kills, its refusals at start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import httpx
import pytest

from sandbox.jira.issues import Draft
from sandbox.jira.site import JiraSite
from sandbox.playground.app import Place, Playground
from sandbox.playground.numbers import LastNumber
from sandbox.playground.server import PlaygroundServer
from sandbox.playground.workers import PAUSE_SECONDS, KillableWorkers, pid_noted
from sandbox.slack.server import SlackSandbox
from tests.support.playground import ADA, CHANNEL, SECRET
from tests.support.scale import bounded
from worker.local.sandboxed import JIRA_TOKEN_VARIABLE, SECRET_VARIABLE, SLACK_TOKEN_VARIABLE
from worker.local.servers.port import free_port


@contextmanager
def serving() -> Iterator[tuple[str, SlackSandbox]]:
    """Run the page's server on a free port; yield its address and its Slack."""
    port = free_port()
    with SlackSandbox() as slack:
        playground = Playground(slack, JiraSite(), Place(port, "http://127.0.0.1:9/", "http://x"), SECRET)
        with PlaygroundServer(playground, port):
            yield f"http://127.0.0.1:{port}/playground", slack


def events(site: str, after: int, epoch: str, wanted: int, **headers: str) -> list[dict[str, Any]]:
    """Read events of the feed until there are so many, or it ends."""
    found: list[dict[str, Any]] = []
    query = {"after": str(after), "epoch": epoch}
    with httpx.stream("GET", f"{site}/feed", params=query, headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            name = value if field == "event" else name
            if field == "data":
                found.append({"event": name, **json.loads(value)})
            if len(found) == wanted:
                break
    return found


def test_the_feed_goes_on_from_a_number() -> None:
    """The feed has each change once, from the number on that the reader has, also after a lost connection."""
    with serving() as (site, slack):
        state = httpx.get(f"{site}/state").json()
        post = {"channel": CHANNEL, "text": "one"}
        slack.workspace.call("chat.postMessage", post)
        slack.workspace.call("chat.postMessage", {**post, "text": "two"})
        told = events(site, state["last"], state["epoch"], 2)
        seen = [item["data"]["text"] for item in told if item["kind"] == "message"]
        assert seen == ["one", "two"]
        again = {"last-event-id": str(told[0]["number"])}
        (second,) = events(site, state["last"], state["epoch"], 1, **again)
        assert second["number"] == told[0]["number"] + 1


def test_a_reader_of_another_start_reads_all_anew() -> None:
    """A number of another start, or one that does not exist yet, gets the one event ``reset``."""
    with serving() as (site, _):
        state = httpx.get(f"{site}/state").json()
        for after, epoch in ((0, "other"), (10_000, state["epoch"])):
            (told,) = events(site, after, epoch, 99)
            assert told["event"] == "reset"


def test_a_stop_ends_the_feeds() -> None:
    """Stopping the server ends an open feed in good order, and does not wait for its reader to leave."""
    with httpx.Client(timeout=20) as client:
        with serving() as (site, _):
            state = client.get(f"{site}/state").json()
            query = {"after": str(state["last"]), "epoch": state["epoch"]}
            answer = client.send(client.build_request("GET", f"{site}/feed", params=query), stream=True)
            lines = answer.iter_lines()
            assert next(lines).startswith("retry")
        assert not any(line.startswith("event: reset") for line in lines)
        answer.close()


def test_other_names_reach_nothing() -> None:
    """A name that resolves to this machine reaches neither the page nor the state."""
    with serving() as (site, _):
        for path in ("/", "/state", "/static/app.js"):
            answer = httpx.get(f"{site}{path}", headers={"host": "rebound.example.com"})
            assert answer.status_code == 421
        assert httpx.get(f"{site}/static/app.js").headers["content-type"].startswith("text/javascript")
        assert httpx.get(f"{site}/static/../guard.py").status_code == 404


def test_a_taken_port_is_an_error() -> None:
    """A port that something else has is an error at the start."""
    with serving() as (site, slack):
        port = httpx.URL(site).port
        assert port is not None
        other = Playground(slack, JiraSite(), Place(port, "http://127.0.0.1:9/", "http://x"), SECRET)
        with pytest.raises(OSError, match="taken"):
            PlaygroundServer(other, port).start()


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a group of its own, as `up` starts its workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_a_worker_is_killed_once_in_a_while(tmp_path: Path) -> None:
    """The noted worker is killed with SIGKILL, and not again before ``up`` could take it for hopeless."""
    now = 0.0
    workers = KillableWorkers(partial(pid_noted, tmp_path, os.getpid()), monotonic=lambda: now)
    assert workers.pids() == {"worker": None, "syncs": None}
    assert "not running" in workers.kill("syncs")
    with worker() as first:
        (tmp_path / "syncs.pid").write_text(f"{first.pid}\n")
        assert workers.pids()["syncs"] == first.pid
        assert str(first.pid) in workers.kill("syncs")
        assert first.wait(10) == -SIGKILL
    with worker() as second:
        (tmp_path / "syncs.pid").write_text(f"{second.pid}\n")
        assert "wait" in workers.kill("syncs")
        assert second.poll() is None
        now = PAUSE_SECONDS
        assert str(second.pid) in workers.kill("syncs")
        assert second.wait(10) == -SIGKILL
    assert "no worker" in workers.kill("web")


def test_only_children_of_up_are_killed(tmp_path: Path) -> None:
    """A note whose number is another's by now, or is none, names no worker."""
    with worker() as ours:
        (tmp_path / "syncs.pid").write_text(f"{ours.pid}\n")
        assert pid_noted(tmp_path, os.getpid(), "syncs") == ours.pid
        assert pid_noted(tmp_path, os.getppid(), "syncs") is None
    assert pid_noted(tmp_path, os.getpid(), "syncs") is None
    for text in ("1", str(os.getpid()), "-1", "0", "", "x"):
        (tmp_path / "syncs.pid").write_text(text)
        assert pid_noted(tmp_path, os.getpid(), "syncs") is None


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """No ticket gets a key that a session may have from before the restart."""
    before, after = JiraSite(["PLAY"]), JiraSite(["PLAY"])
    numbers = LastNumber(tmp_path / "last-number", before)
    numbers.restore()
    before.commit(Draft("PLAY", "Task", "one"))
    numbers.keep()
    before.commit(Draft("PLAY", "Task", "two, of which the file does not tell"))
    LastNumber(tmp_path / "last-number", after).restore()
    assert after.commit(Draft("PLAY", "Task", "three")).number > 2


REAL: Final[tuple[tuple[dict[str, str], str], ...]] = (
    ({"JIRA_API_TOKEN_FILE": "/run/secrets/jira"}, "JIRA_API_TOKEN_FILE"),
    ({"SLACK_BOT_TOKEN": "xoxb-real"}, "SLACK_BOT_TOKEN"),
    ({"DATABASE_URL": "postgresql://db.example.com/x"}, "DATABASE_URL"),
    ({"WEB": "http://threadsync.example.com"}, "this machine alone"),
    ({SECRET_VARIABLE: ""}, "threadsync up"),
)
"""Settings beside which no playground starts, each with a word of the sentence that says so."""


@pytest.mark.bounded
@pytest.mark.parametrize(("more", "words"), REAL[: bounded(len(REAL), 1)])
def test_it_does_not_start_beside_real_services(tmp_path: Path, more: dict[str, str], words: str) -> None:
    """With a real token, a server or another machine's endpoint the process ends at once, in a sentence."""
    given = {SECRET_VARIABLE: SECRET, SLACK_TOKEN_VARIABLE: "xoxb-x", JIRA_TOKEN_VARIABLE: "y"}
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **given, **more}
    ports = [part for name in ("--port", "--slack-port", "--jira-port") for part in (name, str(free_port()))]
    web = env.pop("WEB", "http://127.0.0.1:3000")
    command = [
        sys.executable,
        "-m",
        "sandbox.playground",
        *ports,
        "--web-url",
        web,
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_lost_when_the_endpoint_is_away() -> None:
    """With the web process away a message is in the channel, and the page tells of the request."""
    with serving() as (site, slack):
        page = httpx.get(f"{site}/").text
        token = page.partition('name="playground-token" content="')[2].partition('"')[0]
        origin = site.removesuffix("/playground")
        state = httpx.get(f"{site}/state").json()
        headers = {"origin": origin, "x-playground-token": token}
        asked = {"user": ADA, "channel": CHANNEL, "text": "hello"}
        assert httpx.post(f"{site}/act/message", json=asked, headers=headers).status_code == 200
        told = events(site, state["last"], state["epoch"], 2)
        assert [item["kind"] for item in told] == ["message", "request"]
        assert told[1]["data"]["is_accepted"] is False
        assert [message.text for message in slack.messages] == ["hello"]

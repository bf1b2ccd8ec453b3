"""`threadsync up` as a user runs it: a real process, real signals, real servers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis

from sandbox.slack.requests import app_mention
from sandbox.slack.server import SlackSandbox
from tests.support.command_runs import run_in
from tests.support.scale import bounded
from tests.support.slack_app import CHANNEL, THREAD, USER
from tests.support.up import JIRA, OF_OTHERS, Up
from tests.support.waiting import wait_until
from worker.doctor.roles import broker_user
from worker.local.readiness import answers_http
from worker.operate.rights.environment import PROCESSES, SECRETS

SECRETS_OF_THE_SHELL = (
    *("DATABASE_URL", "CELERY_BROKER_URL", "SLACK_SIGNING_SECRET", "THREADSYNC_CONSOLE_PASSWORD"),
    "FLOWER_BASIC_AUTH",
)
LOGINS = {
    **dict.fromkeys(("sessions", "syncs", "lookups"), "threadsync_worker"),
    "web": "threadsync_web",
    "metrics": "threadsync_reader",
}


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    """Return a port that something else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def slack() -> Iterator[SlackSandbox]:
    """Run a Slack of this module's own."""
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, taken_port: int, slack: SlackSandbox) -> Iterator[Up]:
    """Start one for most tests, with Socket Mode, and told a port that is taken. The last test kills it."""
    env = {"SLACK_API_URL": slack.api_url, "SLACK_BOT_TOKEN": slack.token, "SLACK_APP_TOKEN": slack.app_token}
    up = Up(tmp_path_factory.mktemp("up") / "data", "--port", str(taken_port), **env)
    try:
        yield up.wait_until_ready()
    finally:
        up.end()


@pytest.fixture
def ups() -> Iterator[list[Up]]:
    """Stop every `up` that a test puts into this list."""
    started: list[Up] = []
    yield started
    for up in started:
        up.end()


def test_all_addresses_answer(running: Up) -> None:
    """The table's addresses answer; Flower wants a password; the environment file leads to the servers."""
    assert httpx.post(running.address("Slack endpoint")).status_code == 401
    assert httpx.get(running.address("Flower")).status_code == 401
    assert httpx.get(running.address("Readiness")).status_code == 200
    assert "threadsync_sessions" in httpx.get(running.address("Metrics")).text
    assert httpx.get(running.address("Console"), follow_redirects=True).status_code == 200
    with psycopg.connect(running.env["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(running.env["CELERY_BROKER_URL"]) as client:
        assert client.ping()


def test_the_start_page_lists_them(running: Up) -> None:
    """The start page has every address of the table, and names the file of passwords but no password."""
    page = httpx.get(running.address("Start page"))
    assert page.status_code == 200
    for name in ("Slack endpoint", "Console", "Flower", "Readiness"):
        assert f'href="{running.address(name)}"' in page.text
    assert page.text.count("/metrics</a>") == 4
    assert str(running.data_dir / "env") in page.text
    assert running.env["THREADSYNC_CONSOLE_PASSWORD"] not in page.text


def test_every_worker_shows_what_it_counts(running: Up) -> None:
    """Every worker shows its metrics, and every queue is served, as canaries prove."""
    page = httpx.get(running.address("Start page")).text
    for url in re.findall(r'href="(http://[^"]*/metrics)"', page):
        assert httpx.get(url).status_code == 200

    def all_well() -> bool:
        queues = httpx.get(running.address("Readiness")).json()["queues"]
        return set(queues.values()) == {"ok"}

    wait_until(all_well, "canaries come through", 40)


def test_a_worker_may_not_change_tables(running: Up) -> None:
    """A worker's login may change rows, and no tables."""
    with (
        psycopg.connect(running.env["DATABASE_URL"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DROP TABLE syncs")


def test_no_password_is_in_sight(running: Up) -> None:
    """No password is in the output, in a command line, or in a file that others can read."""
    database, broker = running.env["DATABASE_URL"], running.env["CELERY_BROKER_URL"]
    passwords = [psycopg.conninfo.conninfo_to_dict(database)["password"], broker.split(":")[2].split("@")[0]]
    passwords += [running.env["THREADSYNC_CONSOLE_PASSWORD"]]
    passwords += [running.env["SLACK_SIGNING_SECRET"], running.env["FLOWER_BASIC_AUTH"].split(":")[1]]
    in_sight = running.output + " ".join(part for item in running.processes() for part in item.cmdline())
    assert [password for password in passwords if str(password) in in_sight] == []
    assert (running.data_dir / "env").stat().st_mode & 0o777 == 0o600
    assert running.data_dir.stat().st_mode & 0o777 == 0o700


def test_socket_mode_runs_when_there_is_its_token(running: Up, slack: SlackSandbox) -> None:
    """`threadsync up` with SLACK_APP_TOKEN runs Socket Mode, so that a mention gets its reply."""
    wait_until(lambda: slack.socket_count == 1, "the process has dialled in", timeout=20)
    assert "Slack is not connected" not in running.output
    slack.send_over_socket(app_mention(CHANNEL, USER, "only for your eyes", ts=THREAD))
    wait_until(lambda: slack.messages, "the thread has our reply")


def test_jira_is_said_not_to_be_connected(running: Up) -> None:
    """A start without Jira's settings says that Jira is not connected."""
    assert "Jira is not connected" in running.output


def test_what_makes_tickets_runs(running: Up) -> None:
    """A worker for syncs, one for lookups and a single beat without a schedule file are running."""
    lines = [item.cmdline() for item in running.processes()]
    assert any("syncs,maintenance" in line for line in lines)
    assert any("lookups" in line for line in lines)
    assert len([line for line in lines if "beat" in line]) == 1
    assert not list((running.data_dir / "run").glob("beat-schedule*"))


def test_no_process_has_secrets_that_it_does_not_use(running: Up) -> None:
    """No process has a secret that the table of rights does not give it; the servers have none at all."""
    given = {*OF_OTHERS.values(), *JIRA.values(), *(running.env[name] for name in SECRETS_OF_THE_SHELL)}
    seen = set()
    for process in running.processes():
        if process.pid == running.process.pid:
            continue
        try:
            kind, environ = kind_of(process.cmdline()), process.environ()
        except psutil.NoSuchProcess:
            # A process of Postgres, which come and go.
            continue
        if kind is None:
            continue
        seen.add(kind)
        if kind == "server":
            assert not given & set(environ.values()), process.cmdline()
            continue
        assert not set(OF_OTHERS) & set(environ)
        secrets = set(environ) & frozenset().union(*SECRETS.values())
        assert secrets <= SECRETS[kind], (kind, secrets)
        assert ("FLOWER_BASIC_AUTH" in environ) == (kind == "flower")
        if "CELERY_BROKER_URL" in environ:
            user = broker_user("web" if kind == "socket-mode" else kind)
            assert f"//threadsync-{user}:" in environ["CELERY_BROKER_URL"]
        if "DATABASE_URL" in environ:
            assert f"//{LOGINS[kind]}:" in environ["DATABASE_URL"]
    assert seen == {"server", *PROCESSES} - {"migrate"}


def kind_of(words: list[str]) -> Any:
    """Return the service that a command line runs; None for a helper, such as a tracker of resources."""
    line = " ".join(words)
    if "valkey-server" in line or Path(line).name.startswith("postgres") or "/bin/postgres " in line:
        return "server"
    names = {f"{name}@%h": name for name in ("sessions", "syncs", "lookups")}
    names |= {
        "handlers.serve": "web",
        "handlers.socket_mode": "socket-mode",
        "worker.cli metrics": "metrics",
        " beat ": "beat",
        " flower ": "flower",
    }
    return next((kind for part, kind in names.items() if part in f"{line} "), None)


def test_the_broker_has_nobodys_password(running: Up) -> None:
    """The broker's configuration has hashes in place of passwords, in a file that only its owner can read."""
    config = running.data_dir / "valkey" / "valkey.conf"
    text = config.read_text()
    password = running.env["CELERY_BROKER_URL"].split(":")[2].split("@")[0]
    assert hashlib.sha256(password.encode()).hexdigest() in text
    assert password not in text
    assert config.stat().st_mode & 0o777 == 0o600


def test_the_doctor_finds_each_login_right(running: Up, slack: SlackSandbox) -> None:
    """The doctor finds that each service has the rights of its role, and no others."""
    env = {**os.environ, **running.env, "SLACK_API_URL": slack.api_url}
    for role in (("--role", "sessions"), ("--role", "syncs"), ("--role", "lookups"), ()):
        done = run_in(env, "doctor", *role, "--json")
        found = {one["check"]: one for one in json.loads(done.stdout)}
        for check in ("broker: permissions", "broker: user", "database: privileges", "database: role"):
            assert found[check]["level"] == "ok", found[check]


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_folder_that_others_may_have_prepared_is_refused(mode: int, tmp_path: Path, ups: list[Up]) -> None:
    """A data folder that others can write is refused in one line, before anything in it is run."""
    folder = tmp_path / "data"
    (folder / "run").mkdir(parents=True, mode=0o700)
    (folder / "run" / "celery.py").write_text("raise SystemExit('prepared')")
    folder.chmod(mode)
    up = Up(folder)
    ups.append(up)
    assert up.process.wait(30) == 1
    assert f"{folder} is open to others" in up.output
    assert "Traceback" not in up.output
    folder.chmod(0o700)
    up = Up(folder)
    ups.append(up)
    assert up.process.wait(30) == 1
    assert "take out celery.py" in up.output


def test_a_second_up_on_the_directory_is_refused(running: Up, ups: list[Up]) -> None:
    """A second `up` on the folder ends with exit code 1 and names the first, which goes on."""
    second = Up(running.data_dir)
    ups.append(second)
    assert second.process.wait(30) == 1
    assert f"in use by process {running.process.pid}" in second.output
    assert "Traceback" not in second.output
    assert answers_http(running.address("Readiness"))


def test_a_killed_worker_is_back(running: Up) -> None:
    """A killed worker is reported, and replaced by another."""
    killed = next(item for item in running.processes() if "sessions@%h" in item.cmdline())
    killed.kill()
    wait_until(lambda: "worker is back" in running.output, "the worker is back", timeout=30)
    assert "worker died (signal SIGKILL)" in running.output


def test_a_taken_port_is_replaced(running: Up, taken_port: int) -> None:
    """A Slack endpoint whose port is taken moves to another port, which the table shows."""
    address = running.address("Slack endpoint")
    assert not address.endswith(f":{taken_port}")
    assert answers_http(address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_start_stops_everything(
    number: signal.Signals, tmp_path: Path, ups: list[Up]
) -> None:
    """Ctrl-C and SIGHUP during the start end `up` with exit code 0, and no process is left."""
    up = Up(tmp_path / "data")
    ups.append(up)
    wait_until(lambda: (up.data_dir / "logs" / "postgres.log").exists(), "Postgres is starting", timeout=30)
    up.process.send_signal(number)
    assert up.process.wait(60) == 0, up.output
    assert up.processes() == []


@pytest.mark.bounded
def test_after_sigkill_the_next_start_works(running: Up, ups: list[Up]) -> None:
    """After `kill -9` of `up`, and after each signal that stops it, the next start has the same data.

    SIGTERM, and under ``make test-all`` SIGINT and SIGHUP too, end it with exit code 0 and no process.
    """
    kept = remember(running)
    running.process.kill()
    running.process.wait()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[: bounded(3, 1)]:
        again = Up(running.data_dir)
        ups.append(again)
        again.wait_until_ready()
        wait_until(lambda: running.processes() == [], "the killed one's services are gone", timeout=40)
        assert "Slack is not connected" in again.output
        before, kept = kept, remember(again)
        assert kept == tuple(count + 1 for count in before)
        assert len(again.processes()) > 5
        again.process.send_signal(number)
        assert again.process.wait(60) == 0, again.output
        assert again.processes() == []


def remember(up: Up) -> tuple[int, int]:
    """Add a row to the database and one to a number in the broker; return how many there are now."""
    with psycopg.connect(up.env["DATABASE_URL"]) as connection:
        insert = "INSERT INTO thread_sessions (channel_id, thread_ts, user_id) VALUES ('C0KEPT', %s, 'U1')"
        connection.execute(insert, [f"{time.time():.6f}"])
        count = "SELECT count(*) FROM thread_sessions WHERE channel_id = 'C0KEPT'"
        (rows,) = connection.execute(count).fetchone() or (0,)
    with redis.Redis.from_url(up.env["CELERY_BROKER_URL"]) as client:
        kept = int(client.get("celery-task-meta-kept") or 0) + 1
        client.set("celery-task-meta-kept", kept)
    return rows, kept

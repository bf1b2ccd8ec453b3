"""The ACL of docs/operate/brokers.md, word for word, on both servers: sufficient, and all of it used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.broker_pairs import (
    RedisPrefix,
    Site,
    ValkeyPrefix,
    documented_acl,
    install_on,
)
from tests.support.redis_servers import RedisServer
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync import SessionClient
from worker.operate.rights.broker_users import NAMES, acl_line, login_of

NOT_SEEN: Final[Mapping[str, str]] = {
    "wait": "where BROKER_WAIT_REPLICAS is set, which takes a replica",
    "exists": "kombu's sweep of tables that are overdue for an hour",
    "punsubscribe": "kombu, when a consumer of a broadcast is cancelled",
    "mget": "Celery's client, when its connection for results was lost",
}
"""Commands that no step here needs, and the situation that needs each."""

HARMLESS: Final = {"client|setinfo", "client|maint_notifications", "config|get", "config"}
"""Commands that may be refused: redis-py's name for itself, and how often the log is flushed."""


@pytest.fixture(params=[ValkeyPrefix, RedisPrefix], ids=lambda pair: pair.name)
def server(request: pytest.FixtureRequest, valkey: ValkeyForTests, tmp_path: Path) -> Iterator[ValkeyPrefix]:
    server: ValkeyPrefix = request.param(tmp_path / "broker", valkey)
    try:
        server.start()
        # The first is database 0, which needs no SELECT.
        server.env()
        yield server
    finally:
        server.stop()


def test_the_documented_rights_are_enough_and_none_is_for_nothing(
    server: ValkeyPrefix, postgres: PostgresForTests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses nothing of a whole installation, and each documented right is used."""
    with server.server.client() as admin, install_on(server, postgres, tmp_path) as site:
        monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", site.env["CELERY_BROKER_TRANSPORT_OPTIONS"])
        administrator: Any = admin
        administrator.config_resetstat()
        go_through_everything(site, tmp_path)
        counted = {
            name.removeprefix("cmdstat_"): stat for name, stat in administrator.info("commandstats").items()
        }
        refused = {entry["object"] for entry in administrator.acl_log()}
    assert refused <= HARMLESS, refused
    used = {name for name, stat in counted.items() if stat["calls"]}
    given = {word[1:] for word in documented_acl().split() if word.startswith("+")}
    assert given - used == set(NOT_SEEN)


def test_the_shipped_users_are_enough_for_everything(postgres: PostgresForTests, tmp_path: Path) -> None:
    """The server refuses nothing to the shipped users, one for each kind of process."""
    lines = [acl_line(user, "pw").removeprefix("user ") for user in NAMES]
    with (
        RedisServer(tmp_path / "broker", users=lines, settings={"appendfsync": "always"}) as server,
        server.client() as admin,
        postgres.database() as database_url,
    ):
        administrator: Any = admin
        urls = {user: server.url(user=f"{login_of(user)}:pw") for user in NAMES}
        site = Site(database_url, {"CELERY_BROKER_URL": urls["worker"]}, tmp_path)
        try:
            go_through_everything(site, tmp_path, client=urls["web"], beat=urls["beat"])
        finally:
            site.close()
        refused = {(entry["username"], entry["object"]) for entry in administrator.acl_log()}
    # Only the administrator may read how often the log is flushed.
    assert refused <= {(login_of("worker"), "config|get"), (login_of("worker"), "config")}


def go_through_everything(
    site: Site, folder: Path, *, client: str | None = None, beat: str | None = None
) -> None:
    """Use the broker in all ways: commands, kills, waits, junk, results, heartbeats, the CLI, the doctor.

    ``client`` and ``beat``: their own addresses of the broker.
    """
    own = site.env["CELERY_BROKER_URL"]
    process = site.beat(CELERY_BROKER_URL=beat or own)
    try:
        with closing(SessionClient(client or own)) as sender:
            # Health looks at the waiting message.
            first = sender.get_or_create("C1", "1700000000.000001", "U1")
            assert "no such worker" in run(site, "worker.cli", "health", "worker", code=1)
            with site.worker() as worker:
                assert first.get(timeout=20).outcome == "created"
                for number in range(300):
                    sender.get_or_create("C2", f"1700000000.{number:06}", "U1")
                assert site.send("probe.kill_child", str(folder / "diary"), 1).get(timeout=20) == "survived"
                due = datetime.now(UTC) + timedelta(seconds=15)
                later = site.send_for(due, "probe.take", str(folder / "later"), 0.0)
                wait_until(lambda: site.heartbeats().queues["sessions"].later, "it waits in the broker", 10)
                site.publish(b"\x00 no message of ours", task="no.such.task", id="junk")
                site.dead_letter(lambda letter: letter.task_id == "junk", timeout=20)
                assert later.get(timeout=30) == "ended"
                assert "pong" in run(site, "celery", "-A", "worker", "inspect", "ping")
                wait_until(lambda: site.heartbeats().canaries, "canaries come out", 20)
                run(site, "worker.cli", "health", "worker")
                run(site, "worker.cli", "health", "beat")
                run(site, "worker.cli", "installation", "show")
                # Its messages are overdue 10 s after its death, and put back by the next one.
                held = site.send("probe.take", str(folder / "held"), 5.0)
                wait_until((folder / "held").exists, "it runs", 20)
                worker.kill()
                worker.start()
                assert held.get(timeout=40) == "ended"
                found = doctor(site)
                wrong = {check: one for check, one in found.items() if one["level"] in ("warning", "error")}
                assert {check for check in wrong if check.startswith("broker")} <= {
                    "broker: append-only file",
                    # Found where one user serves all processes.
                    *(() if client else ("broker: user",)),
                }
                worker.stop()
    finally:
        process.kill()


def doctor(site: Site) -> dict[str, dict[str, str]]:
    words = [sys.executable, "-m", "worker.cli", "doctor", "--role", "sessions", "--json"]
    env = {**site.env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=env, timeout=60, capture_output=True, check=False)
    return {finding["check"]: finding for finding in json.loads(done.stdout)}


def run(site: Site, *words: str, code: int = 0) -> str:
    env = {**site.env, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", *words]
    done = subprocess.run(
        argv, env=env, cwd=site.logs, timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr

"""Brokers that answer and refuse, for each reason that Valkey and Redis have: nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer
from tests.support.refusals import CHEAP, REFUSALS, SETTINGS
from tests.support.waiting import wait_until
from tests.support.waiting_out import run, send, sending_fails, starting_worker, wait_out
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "server", settings=SETTINGS) as server:
        yield server


@pytest.mark.parametrize("reason", sorted(REFUSALS.keys() - CHEAP))
def test_a_broker_that_refuses_is_waited_for(
    reason: str, server: RedisServer, database_url: str, tmp_path: Path
) -> None:
    """Commands wait out a broker that refuses for one of the reasons that take long to show."""
    wait_out(REFUSALS[reason], server, database_url, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system, which only root can do."""
    place = tmp_path / "disk"
    place.mkdir()
    program = shutil.which("mount")
    mount = [str(program), "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if program is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run([str(shutil.which("umount")), "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fill the disk to the last byte; return the file."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_a_full_disk_is_waited_for(
    appendfsync: str, small_disk: Path, database_url: str, tmp_path: Path
) -> None:
    """Commands wait for a server on a full disk: with ``everysec`` it refuses, with ``always`` it ends."""
    ends = appendfsync == "always"
    settings = {"appendfsync": appendfsync, "unixsocket": f'"{tmp_path / "s"}"'}
    with (
        RedisServer(small_disk / "server", settings=settings) as server,
        closing(Installation(database_url, server.url(), tmp_path)) as installation,
        SessionClient(server.url()) as client,
        starting_worker(installation) as starting,
        installation.worker("running") as running,
    ):
        client.ping()
        ballast = fill(small_disk)
        # Commands sent before it noticed are in its memory, and written when there is room.
        taken = take_until_refused(client)
        if ends:
            wait_until(lambda: server.has_ended, "it ends", 20)
        else:
            wait_until(lambda: "cannot write to its disk" in sending_fails(client), "sending says why", 20)
        starting.launch()
        met = "Cannot connect" if ends else "broker refused"
        wait_until(lambda: met in starting.log, "the one that starts has met it", 60)
        assert running.is_alive
        assert starting.is_alive
        ballast.unlink()
        if ends:
            # Started again, as by its supervisor.
            server.start()
        wait_until(lambda: not sending_fails(client), "sending succeeds", 30)
        acknowledged = {("C1", f"{number}.1") for number in range(taken)} | {("C2", "1.1")}
        wait_until(lambda: acknowledged <= threads_of(installation), "all are carried out", 60)
        # The one that had no answer may have been kept: a server can end between writing and answering.
        wait_until(lambda: installation.waiting() == 0, "nothing is left", 60)
        assert threads_of(installation) - acknowledged <= {("C1", f"{taken}.1")}
        assert running.is_alive
        assert starting.is_alive
        assert installation.dead_letters() == []


def threads_of(installation: Installation) -> set[tuple[str, str]]:
    return {(session.channel_id, session.thread_ts) for session in installation.sessions()}


def take_until_refused(client: SessionClient) -> int:
    """Send commands until one is refused; return the number of accepted ones."""
    taken = 0

    def is_refused() -> bool:
        nonlocal taken
        try:
            client.get_or_create("C1", f"{taken}.1", "U1")
        except EnqueueFailed:
            return True
        taken += 1
        return False

    wait_until(is_refused, "it refuses", 60)
    return taken


def test_a_cluster_is_refused_in_a_sentence(tmp_path: Path, database_url: str) -> None:
    """Worker, beat, CLI and doctor refuse a Redis Cluster in a sentence."""
    with (
        RedisServer(tmp_path / "server", settings={"cluster-enabled": "yes"}) as server,
        closing(Installation(database_url, server.url(), tmp_path)) as installation,
    ):
        for words in (
            ("celery", "-A", "worker", "worker"),
            ("celery", "-A", "worker", "beat", "--pidfile="),
            ("celery", "-A", "worker", "inspect", "ping"),
            ("worker.cli", "health", "worker"),
        ):
            done = run(installation, *words)
            said = done.stdout + done.stderr
            assert done.returncode not in (0, None), words
            assert said.count("Redis Cluster") == 1, said
            assert "Traceback" not in said, said
        done = run(installation, "worker.cli", "doctor", "--role", "sessions", "--json")
        found: dict[str, Any] = {finding["check"]: finding for finding in json.loads(done.stdout)}
        assert found["broker: reachable"]["level"] == "error"
        assert "Redis Cluster" in found["broker: reachable"]["message"]


def test_commands_wait_out_a_broker_that_refuses_a_password(
    server: RedisServer, database_url: str, tmp_path: Path
) -> None:
    """A worker asks a broker that refuses its password until the password is right again."""
    with (
        closing(Installation(database_url, server.url(), tmp_path)) as installation,
        SessionClient(server.url()) as client,
        server.client() as admin,
        installation.worker("running") as running,
    ):
        password = str(admin.connection_pool.connection_kwargs["password"])
        client.ping()
        send(installation, 50)
        admin.config_set("requirepass", "another")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with suppress(redis.RedisError):
            admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert "refuses our password" in sending_fails(client)
        wait_until(lambda: "Cannot connect" in running.log, "the worker was refused", 30)
        admin.config_set("requirepass", password)
        wait_until(lambda: len(installation.sessions()) == 50, "all are carried out", 60)
        wait_until(lambda: not sending_fails(client), "sending succeeds", 20)
        assert running.is_alive

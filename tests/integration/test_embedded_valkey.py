"""The Valkey server that `threadsync up` and these tests run on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.local.failure import DataDirInUse, LocalServiceFailed
from worker.local.servers.valkey import EmbeddedValkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "valkey")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def client(server: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def test_a_new_server_keeps_what_it_acknowledges(client: redis.Redis) -> None:
    """A new server writes every change to disk before it acknowledges it, and evicts nothing."""
    settings = client.config_get("append*", "maxmemory-policy", "save")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""


def test_nobody_gets_in_without_the_password(server: EmbeddedValkey) -> None:
    """The server listens on 127.0.0.1 only and wants a password, which is not on its command line."""
    with (
        redis.Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    process = psutil.Process(server.pid)
    assert {item.laddr.ip for item in process.net_connections() if item.laddr} == {"127.0.0.1"}
    assert server.password not in " ".join(process.cmdline())
    private = [path for path in server.log_path.parent.iterdir() if path.name in {"password", "valkey.conf"}]
    assert [path.stat().st_mode & 0o777 for path in private] == [0o600, 0o600]


def test_what_was_acknowledged_survives_sigkill(server: EmbeddedValkey, client: redis.Redis) -> None:
    """A thousand acknowledged messages are all there after SIGKILL, at the same URL."""
    url = server.url
    for number in range(1000):
        client.rpush("queue", number)
    server.kill()
    assert server.pid is None
    server.start()
    assert server.url == url
    assert client.llen("queue") == 1000


def test_data_survives_stop(server: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    """A new object on the same directory has the data, the password and the port of the old one."""
    client.set("key", "value")
    server.stop()
    again = EmbeddedValkey(tmp_path / "valkey")
    again.start()
    try:
        assert again.url == server.url
        assert client.get("key") == "value"
    finally:
        again.stop()


def test_a_log_cut_short_by_a_crash_is_loaded(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    """An append-only file that a crash cut short is loaded up to its last whole entry."""
    client.set("whole", "1")
    client.set("cut", "x" * 100)
    server.kill()
    log = next((tmp_path / "valkey" / "data").rglob("*.incr.aof"))
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 20)
    server.start()
    assert client.get("whole") == "1"
    assert client.get("cut") is None


def test_a_taken_port_is_replaced(server: EmbeddedValkey, tmp_path: Path) -> None:
    """A server whose port was taken meanwhile starts on another port."""
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        again = EmbeddedValkey(tmp_path / "valkey", port=server.port)
        again.start()
        try:
            assert again.port != server.port
        finally:
            again.stop()


def test_one_directory_has_one_server(server: EmbeddedValkey, tmp_path: Path) -> None:
    """A second server on the same directory is refused."""
    with pytest.raises(DataDirInUse):
        EmbeddedValkey(tmp_path / "valkey").start()
    assert server.pid


def test_an_orphan_is_replaced(server: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    """A server that outlived its owner is stopped by the next start, and its data is kept."""
    client.set("key", "value")
    # What a dead owner leaves: a running server, and a lock without a holder.
    server._dir.release()
    successor = EmbeddedValkey(tmp_path / "valkey")
    successor.start()
    try:
        assert server.poll() is not None
        with redis.Redis.from_url(successor.url, decode_responses=True) as second_client:
            assert second_client.get("key") == "value"
    finally:
        successor.stop()


def test_a_fault_at_start_shows_the_log(tmp_path: Path) -> None:
    """An error at the start names the log and ends with Valkey's own words."""
    server = EmbeddedValkey(tmp_path / "valkey", settings={"maxmemory": "plenty"})
    with pytest.raises(LocalServiceFailed, match=r"(?s)server\.log.*maxmemory"):
        server.start()
    assert server.pid is None

"""Sentinels and master over TLS that want a client's certificate, by one address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from tests.support.installation import Installation
from tests.support.redis_servers import PASSWORD, RedisServer, redis_program
from tests.support.tls import Authority
from tests.support.waiting import wait_until
from tests.support.waiting_out import sending_fails
from threadsync import SessionClient
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed, ThreadsyncError
from worker.doctor.broker import examine_broker
from worker.local.child import Child
from worker.local.servers.port import free_port

MASTER = "broker"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "tls").mkdir()
    return Authority(tmp_path / "tls")


@pytest.fixture
def master(authority: Authority, tmp_path: Path) -> Iterator[RedisServer]:
    # The wheel's Valkey is built without TLS.
    program = redis_program()
    with RedisServer(tmp_path / "master", program, authority=authority, client_certificates=True) as master:
        yield master


@pytest.fixture
def sentinel(authority: Authority, master: RedisServer, tmp_path: Path) -> Iterator[int]:
    """Start a sentinel that speaks TLS only, with its master too; yield its port."""
    port, own, folder = free_port(), authority.issue("sentinel"), tmp_path / "sentinel"
    folder.mkdir()
    (folder / "sentinel.conf").write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"tls-cert-file {own.certfile}\ntls-key-file {own.keyfile}\ntls-ca-cert-file {authority.ca}\n"
        "tls-auth-clients yes\ntls-replication yes\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master.tls_port} 1\n"
        f"sentinel auth-pass {MASTER} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {MASTER} 2000\n"
    )
    argv = [redis_program(), str(folder / "sentinel.conf"), "--sentinel"]
    child = Child(argv, log_path=folder / "sentinel.log", cwd=folder)
    asking = authority.issue("test")
    client = redis.Redis(
        port=port,
        ssl=True,
        ssl_ca_certs=str(authority.ca),
        ssl_certfile=str(asking.certfile),
        ssl_keyfile=str(asking.keyfile),
        decode_responses=True,
    )

    def sees_its_master() -> bool:
        try:
            # A sentinel that has not reached its master has further flags.
            return bool(cast(Any, client.sentinel_masters())[MASTER]["flags"] == "master")
        except redis.ConnectionError:
            return False

    try:
        wait_until(sees_its_master, "the sentinel sees its master", 20)
        yield port
    finally:
        client.close()
        child.kill()


def test_a_list_of_sentinels_with_client_certificates(
    authority: Authority,
    sentinel: int,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client needs its certificate for a list of sentinels, of which the first one is not there."""
    query = authority.query(authority.issue("client"))

    def addresses(query: str) -> str:
        ports = (free_port(), sentinel)
        return ";".join(f"sentinel://:{PASSWORD}@127.0.0.1:{port}/0?{query}" for port in ports)

    options = {"master_name": MASTER}
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", json.dumps(options))
    url = addresses(query)
    with SessionClient(addresses(authority.query())) as stranger, pytest.raises(EnqueueFailed):
        stranger.ping()
    with closing(Installation(database_url, url, tmp_path)) as installation:
        installation.env["CELERY_BROKER_TRANSPORT_OPTIONS"] = json.dumps(options)
        with SessionClient(url) as client, installation.worker("secret") as worker:
            # Sent again, as Slack does: on a busy machine handshakes take longer than a client waits.
            wait_until(lambda: not sending_fails(client), "it is taken", 60)
            wait_until(lambda: len(installation.sessions()) == 1, "it is carried out", 30)
            wait_until(lambda: has_result(client), "a result comes", 60)
            assert worker.is_alive
    settings = load_settings(celery_broker_url=url, celery_broker_transport_options=options)
    found = {finding.check: finding.level for finding in examine_broker(settings)}
    assert "error" not in found.values(), found


def has_result(client: SessionClient) -> bool:
    try:
        return client.get_or_create("C2", "1.1", "U1").get(timeout=10).outcome == "unchanged"
    except ThreadsyncError:
        return False

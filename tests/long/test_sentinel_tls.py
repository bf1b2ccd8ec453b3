"""Sentinels and master over TLS that want a client's certificate, by one address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.redis_servers import PASSWORD, RedisServer, redis_program
from tests.support.tls import Authority
from tests.support.tls_sentinel import MASTER, tls_sentinel
from tests.support.waiting import wait_until
from tests.support.waiting_out import sending_fails
from threadsync import SessionClient
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed, ThreadsyncError
from worker.doctor.broker import examine_broker
from worker.local.servers.port import free_port


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
    with tls_sentinel(authority, master, tmp_path / "sentinel") as port:
        yield port


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

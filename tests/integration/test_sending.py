"""Commands and results over every kind of address that Valkey and Redis have."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bursts import commands_in
from tests.support.redis_servers import PASSWORD, RedisServer, redis_program
from tests.support.tls import Authority, TlsFront
from threadsync import AsyncSessionClient, SessionClient
from threadsync.broker.producer import NotReplicated
from threadsync.config import get_settings
from threadsync.errors import EnqueueFailed, InvalidSettings
from worker.doctor.app import app_of
from worker.doctor.broker import examine_broker

CONFINED = "confined on >pw ~ts:* &ts:* +@all -@dangerous -info"
BURST = 500


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def valkey91(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("v"), users=[CONFINED]) as server:
        yield server


@pytest.fixture(scope="module")
def redis70(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("r")
    with RedisServer(
        directory, redis_program(), authority=authority, client_certificates=True, users=[CONFINED]
    ) as server:
        yield server


@pytest.fixture(scope="module")
def front(authority: Authority, valkey91: RedisServer) -> Iterator[TlsFront]:
    front = TlsFront(authority.issue("front"), valkey91.port, clients_of=authority.ca)
    yield front
    front.close()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Yield a function that sets the environment of an installation with this broker."""

    def configure(url: str, **options: Any) -> None:
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        if options:
            monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", json.dumps(options))
        get_settings.cache_clear()

    return configure


def there_and_back() -> None:
    """Send commands by a client and by a worker's app, and read a stored result by the client."""
    app = app_of(get_settings())
    with SessionClient() as client, app:
        handle = client.get_or_create("C1", "1700000000.000001", "U1")
        app.send_task("sessions.get", kwargs={"channel_id": "C1"}, queue="sessions", ignore_result=True)
        with app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            bodies = [channel.basic_get("sessions", no_ack=True) for _ in range(2)]
            assert all(bodies)
        results: Any = app.backend
        stored: dict[str, Any] = {
            "status": "SUCCESS",
            "result": {"it": "came"},
            "traceback": None,
            "children": [],
        }
        results.client.set(results.get_key_for_task(handle.task_id), results.encode(stored))
        assert client._broker.result_of(handle.task_id) == (True, {"it": "came"})


def test_by_tcp(valkey91: RedisServer, configure: Callable[..., None]) -> None:
    configure(valkey91.url(1))
    there_and_back()


def test_by_a_socket(valkey91: RedisServer, configure: Callable[..., None]) -> None:
    """A command and its result go through a Unix socket."""
    configure(valkey91.socket_url(2))
    there_and_back()
    with valkey91.client(2) as server:
        assert server.keys("celery-task-meta-*")


def test_by_a_socket_with_options_of_tcp(valkey91: RedisServer, configure: Callable[..., None]) -> None:
    configure(valkey91.socket_url(2), socket_keepalive=True, socket_keepalive_options={}, socket_timeout=2)
    there_and_back()


def test_by_a_user_with_a_prefix(valkey91: RedisServer, configure: Callable[..., None]) -> None:
    configure(valkey91.url(user="confined:pw"), global_keyprefix="ts:")
    there_and_back()


def test_by_tls_with_a_certificate(
    front: TlsFront, authority: Authority, configure: Callable[..., None]
) -> None:
    """A command and its result go through TLS, with a certificate on each side."""
    query = authority.query(authority.issue("client"))
    configure(f"valkeys://:{PASSWORD}@127.0.0.1:{front.port}/3?{query}")
    there_and_back()


def test_redis_7_by_tls(redis70: RedisServer, authority: Authority, configure: Callable[..., None]) -> None:
    configure(f"{redis70.tls_url()}?{authority.query(authority.issue('client'))}")
    there_and_back()


def test_a_stranger_gets_no_password(
    front: TlsFront, authority: Authority, configure: Callable[..., None]
) -> None:
    """A server with a certificate of an unknown authority gets no password, command or question."""
    accepted = front.accepted
    certificate = authority.issue("client")
    mine = f"ssl_certfile={certificate.certfile}&ssl_keyfile={certificate.keyfile}"
    configure(f"rediss://:{PASSWORD}@127.0.0.1:{front.port}/3?{mine}")
    with SessionClient() as client:
        with pytest.raises(EnqueueFailed, match="CERTIFICATE_VERIFY_FAILED"):
            client.ping()
        assert client._broker.result_of("any") == (False, None)
    assert front.accepted == accepted


def test_the_certificate_must_be_of_the_host(
    valkey91: RedisServer, authority: Authority, configure: Callable[..., None]
) -> None:
    front = TlsFront(authority.issue("elsewhere", "DNS:elsewhere.example"), valkey91.port)
    try:
        configure(f"rediss://:{PASSWORD}@127.0.0.1:{front.port}/3?{authority.query()}")
        with SessionClient() as client, pytest.raises(EnqueueFailed, match="IP address mismatch"):
            client.ping()
        configure(
            f"rediss://:{PASSWORD}@127.0.0.1:{front.port}/3?{authority.query()}&ssl_check_hostname=false"
        )
        there_and_back()
    finally:
        front.close()


# --- Replicas


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Start a master and its replica."""
    with RedisServer(tmp_path / "m") as master, RedisServer(tmp_path / "s") as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(master.port))
        with master.client() as client:
            client.set("k", "v")
            assert client.wait(1, 10_000) == 1
        yield master, replica


def test_replicas_have_what_was_sent(
    replicated: tuple[RedisServer, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client raises EnqueueFailed within its second when too few replicas have the message."""
    master, replica = replicated
    monkeypatch.setenv("BROKER_WAIT_REPLICAS", "1")
    with SessionClient(master.url(), master.url()) as client, master.client() as server:
        client.get_or_create("C1", "1700000000.000001", "U1")
        replica.freeze()
        began = time.monotonic()
        with pytest.raises(EnqueueFailed, match="0 of 1 replicas"):
            client.get_or_create("C1", "1700000000.000002", "U1")
        assert time.monotonic() - began < 1.5
        replica.thaw()
        client.get_or_create("C1", "1700000000.000003", "U1")
        assert server.info("commandstats")["cmdstat_wait"]["calls"] == 4


def test_a_worker_waits_for_replicas_too(
    replicated: tuple[RedisServer, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's own message that too few replicas have raises NotReplicated."""
    master, replica = replicated
    monkeypatch.setenv("BROKER_WAIT_REPLICAS", "1")
    monkeypatch.setenv("CELERY_BROKER_URL", master.url())
    get_settings.cache_clear()
    with app_of(get_settings()) as app:
        app.send_task("sessions.get", queue="sessions", retry=False, ignore_result=True)
        replica.freeze()
        with pytest.raises(NotReplicated):
            app.send_task("sessions.get", queue="sessions", retry=False, ignore_result=True)
        replica.thaw()


# --- A cluster


def test_a_cluster_is_refused(tmp_path: Path, configure: Callable[..., None]) -> None:
    """A Redis Cluster is refused by clients, a worker's app and the doctor, with a sentence."""
    with RedisServer(tmp_path, settings={"cluster-enabled": "yes"}) as server:
        with server.client() as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        configure(server.url())
        with SessionClient() as client:
            with pytest.raises(InvalidSettings, match="Redis Cluster"):
                client.ping()
            # One of the two keys belongs to another node of the cluster.
            with pytest.raises(InvalidSettings, match="Redis Cluster"):
                client._broker.result_of("a") and client._broker.result_of("b")
        with pytest.raises(InvalidSettings, match="Redis Cluster"), app_of(get_settings()) as app:
            app.connection_for_read().ensure_connection(max_retries=1)
        found = next(iter(examine_broker(get_settings())))
        assert found.level == "error"
        assert "Redis Cluster" in found.message


# --- Bursts


def test_a_burst_of_threads_fails_none(valkey91: RedisServer) -> None:
    failures: list[Exception] = []
    ready = threading.Barrier(BURST)

    def send(number: int) -> None:
        ready.wait()
        try:
            client.get_or_create("C1", f"1700000000.{number:06}", "U1")
        except Exception as exc:  # noqa: BLE001 - all are counted
            failures.append(exc)

    with SessionClient(valkey91.url(4), valkey91.url(4)) as client:
        threads = [threading.Thread(target=send, args=(number,)) for number in range(BURST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    with valkey91.client(4) as server:
        assert len(commands_in(server)) == BURST


async def test_a_burst_of_asyncio_fails_none(valkey91: RedisServer) -> None:
    async with AsyncSessionClient(valkey91.url(5), valkey91.url(5)) as client:
        await asyncio.gather(
            *(client.get_or_create("C1", f"1700000000.{number:06}", "U1") for number in range(BURST))
        )
    with valkey91.client(5) as server:
        assert len(commands_in(server)) == BURST


async def test_a_burst_at_a_frozen_broker_fails_soon(tmp_path: Path) -> None:
    """A burst of 500 commands at a frozen broker fails within 10 s, and most of it is never sent."""
    with RedisServer(tmp_path) as server:
        async with AsyncSessionClient(server.url(), server.url()) as client:
            await client.ping()
            server.freeze()
            began = time.monotonic()
            outcomes = await asyncio.gather(
                *(client.get_or_create("C1", f"1700000000.{number:06}", "U1") for number in range(BURST)),
                return_exceptions=True,
            )
            # Eight at a time with 0.9 s each would take a minute.
            assert time.monotonic() - began < 10
            assert all(isinstance(outcome, EnqueueFailed) for outcome in outcomes)
            server.thaw()
            await client.ping()
        with server.client() as redis:
            assert redis.llen("sessions") < BURST / 4

"""Failures to store a result, which never change its command's fate: real workers and servers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from tests.support.installation import Installation, install
from tests.support.redis_servers import RedisServer, SentinelSet
from tests.support.servers import VALKEY_SETTINGS, PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.config import load_settings
from worker.celery import configuration
from worker.durable.results import WorkersCelery
from worker.local.servers.valkey import EmbeddedValkey

ENOUGH_FOR_BATCHES = 40
_numbers = itertools.count(1)


class Apart:
    """An installation with a worker whose results have a server of their own."""

    def __init__(self, installation: Installation, results: EmbeddedValkey) -> None:
        self.installation = installation
        self.results = results
        self.administrator = redis.Redis.from_url(results.url)

    def send(self, count: int) -> list[AsyncResult[Any]]:
        """Send commands that open ``count`` new sessions."""
        ours = self.installation
        return [
            ours.send("sessions.get_or_create", channel_id="C1", thread_ts=f"1.{number}", user_id="U1")
            for number in itertools.islice(_numbers, count)
        ]

    def all_end_well(self, count: int, sessions_before: int) -> bool:
        """Return True if all sessions exist and no message is left."""
        ours = self.installation
        return len(ours.sessions()) == sessions_before + count and ours.waiting() == 0

    def results_come(self) -> bool:
        """Send a command, and return True if its own result can be read."""
        number = next(_numbers)
        with SessionClient(self.installation.broker_url, self.results.url) as client:
            handle = client.get_or_create("C1", f"1.{number}", "U1")
            wait_until(lambda: self.installation.waiting() == 0, "it has ended")
            ready, value = client._broker.result_of(handle.task_id)
        assert not ready or value["thread_ts"] == f"1.{number}"
        return ready


@pytest.fixture(scope="module")
def apart(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("apart")
    results = EmbeddedValkey(folder / "results", settings=VALKEY_SETTINGS)
    results.start()
    try:
        with (
            install(postgres, valkey, folder) as installation,
            installation.worker(CELERY_RESULT_BACKEND=results.url),
        ):
            yield Apart(installation, results)
    finally:
        results.stop()


@contextmanager
def full(apart: Apart) -> Iterator[None]:
    """Make the server of results refuse writes for lack of memory (OOM)."""
    apart.administrator.config_set("maxmemory", 1)
    yield
    apart.administrator.config_set("maxmemory", 0)


@contextmanager
def a_replica(apart: Apart) -> Iterator[None]:
    """Make the server of results a replica of an absent master (READONLY)."""
    apart.administrator.replicaof("127.0.0.1", 1)
    yield
    apart.administrator.replicaof("NO", "ONE")


@contextmanager
def without_permission(apart: Apart) -> Iterator[None]:
    """Take the rights to store results away (NOPERM)."""
    apart.administrator.acl_setuser("default", enabled=True, commands=["-set", "-setex", "-publish"])
    yield
    apart.administrator.acl_setuser("default", enabled=True, commands=["+set", "+setex", "+publish"])


@contextmanager
def without_a_login(apart: Apart) -> Iterator[None]:
    """Change the server's password and close all connections (WRONGPASS)."""
    apart.administrator.config_set("requirepass", "another one")
    apart.administrator.client_kill_filter(_type="normal", skipme=True)
    yield
    apart.administrator.config_set("requirepass", apart.results.password)


@contextmanager
def frozen(apart: Apart) -> Iterator[None]:
    """Freeze the server of results."""
    pid = apart.results.pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("trouble", [full, a_replica, without_permission, without_a_login, frozen])
def test_a_server_of_results_in_trouble_changes_nothing(
    apart: Apart, trouble: Callable[[Apart], Any]
) -> None:
    """Commands have their effect while the server of results fails; once it recovers, results come again."""
    before = len(apart.installation.sessions())
    with trouble(apart):
        apart.send(ENOUGH_FOR_BATCHES)
        wait_until(lambda: apart.all_end_well(ENOUGH_FOR_BATCHES, before), "all have ended", timeout=20)
    assert apart.installation.dead_letters() == []
    wait_until(apart.results_come, "results come again", timeout=20)


@contextmanager
def by_tcp(folder: Path) -> Iterator[tuple[RedisServer, str]]:
    with RedisServer(folder) as server:
        yield server, server.url()


@contextmanager
def by_socket(folder: Path) -> Iterator[tuple[RedisServer, str]]:
    with RedisServer(folder) as server:
        yield server, server.socket_url()


@contextmanager
def by_sentinel(folder: Path) -> Iterator[tuple[RedisServer, str]]:
    with SentinelSet(folder, replicas=0, sentinels=1) as sentinels:
        yield sentinels.servers[0], sentinels.url


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # called by Celery
@pytest.mark.parametrize("reached", [by_tcp, by_socket, by_sentinel])
def test_a_result_is_kept_as_soon_as_its_server_is_back(
    tmp_path: Path, reached: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result is stored as soon as its server is back, over each way to reach it."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", json.dumps({"master_name": SentinelSet.name}))
    with reached(tmp_path / "s") as (server, url):
        app = WorkersCelery("probe", set_as_current=False)
        app.conf.update(configuration(load_settings(celery_broker_url=url)))
        backend: Any = app.backend
        wait_until(backend.is_back, "it is there")
        server.freeze()
        assert not backend.is_back()
        server.thaw()
        # The default is two seconds, during which each result would be lost.
        backend._silent_until = time.monotonic() + 3600
        wait_until(backend.is_back, "it is back")
        backend.store_result("an-id", 1, "SUCCESS")
        assert backend.get_task_meta("an-id")["result"] == 1
        server.kill()
        assert not backend.is_back()
        app.close()

"""Thousands of mutated messages against a busy worker: none does harm, and each ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import amqp
import httpx
import pytest

from tests.support.broker_pairs import BrokerServer, RabbitClassic, ValkeyTcp, install_on
from tests.support.feeding import (
    RabbitFeed,
    ValkeyFeed,
    both_places_are_free,
    feed,
    see_that_all_are_accounted_for,
)
from tests.support.scale import scaled
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

SEED: Final = 1509
WAYS: Final[dict[type[BrokerServer], Any]] = {ValkeyTcp: ValkeyFeed, RabbitClassic: RabbitFeed}


@contextmanager
def _watched(web: WebProcess) -> Iterator[list[Any]]:
    """Ask ``/readyz`` all the time, and collect each response that is not "ok"."""
    wrong: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            try:
                answer = httpx.get(f"{web.url}/readyz", timeout=10)
            except httpx.HTTPError as exc:
                wrong.append(repr(exc))
            else:
                if answer.status_code != 200 or set(answer.json()["queues"].values()) != {"ok"}:
                    wrong.append((answer.status_code, answer.text))

    watching = threading.Thread(target=watch, name="readyz")
    watching.start()
    try:
        yield wrong
    finally:
        over.set()
        watching.join()


@pytest.mark.parametrize("kind", WAYS, ids=lambda kind: kind.name)
def test_mutated_messages_do_no_harm(
    kind: Any, postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """Mutated messages leave the main process, honest commands and ``/readyz`` unharmed, and each ends."""
    server: BrokerServer = kind(tmp_path / "server", valkey)
    try:
        server.start()
        with install_on(server, postgres, tmp_path) as site:
            beat = site.beat()
            way = WAYS[kind](site)
            try:
                with site.worker() as worker, WebProcess(site.env, tmp_path / "web.log") as web:
                    pid = worker.pid
                    wait_until(lambda: _all_ok(web), "all queues are heard", 60)
                    with _watched(web) as wrong:
                        fed = feed(site, way, range(scaled(5000)), SEED)
                    assert wrong == []
                    assert (worker.is_alive, worker.pid) == (True, pid)
                    both_places_are_free(site, tmp_path)
                    assert fed.answered > 20
                    assert len(fed.messages) > scaled(5000) / 2
                    see_that_all_are_accounted_for(site, fed)
                    assert site.deaths() == []
            finally:
                way.close()
                beat.kill()
    finally:
        server.stop()


def test_junk_to_all_workers_ends_none_of_rabbitmqs(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """Junk as remote control, with any headers that AMQP allows, ends no worker on RabbitMQ."""
    server = RabbitClassic(tmp_path / "server", valkey)
    headers: list[dict[str, Any]] = [
        {},
        {"clock": "x"},
        {"clock": -1, "compression": [1]},
        {"\ud800": 1, "clock": b"\xff"},
        {"compression": "zlib"},
    ]
    try:
        server.start()
        with install_on(server, postgres, tmp_path) as site, site.worker() as worker:
            with site.celery.connection_for_write() as connection:
                channel: Any = connection.channel()
                for body in (
                    b"5",
                    b"[]",
                    b"\xff",
                    b"",
                    b'{"method": 5}',
                    b"[" * 100_000,
                    b'{"method": "shutdown"}',
                ):
                    for kind in ("application/json", "application/text", "application/x-yaml"):
                        for named in headers:
                            options = {"content_type": kind, "content_encoding": "bz2"}
                            made = amqp.Message(body, application_headers=named, **options)
                            channel.basic_publish(made, exchange="celery.pidbox")
            pid = worker.pid
            wait_until(lambda: site.celery.control.ping(timeout=1), "remote control is answered", 20)
            assert site.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=10) is None
            assert (worker.is_alive, worker.pid) == (True, pid)
            assert site.dead_letters() == []
    finally:
        server.stop()


def _all_ok(web: WebProcess) -> bool:
    answer = httpx.get(f"{web.url}/readyz", timeout=10)
    return answer.status_code == 200 and set(answer.json()["queues"].values()) == {"ok"}

"""The ``/metrics`` server: few threads, and one collection for all who wait."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tests.support.waiting import wait_until
from worker.local.servers.port import free_port
from worker.observe import metrics_server
from worker.observe.metrics_server import OneLook, serve_metrics


class Counting(Collector):
    """A collector that counts how often it is collected."""

    def __init__(self) -> None:
        self.looks = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def collect(self) -> Iterator[Metric]:
        self.looks += 1
        assert self.may_go_on.wait(20)
        yield GaugeMetricFamily("looks", "How often", value=self.looks)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Start a metrics server that gives a request 1.5 s instead of 10, and return its port."""
    monkeypatch.setattr(metrics_server, "_REQUEST_SECONDS", 1.5)
    monkeypatch.setattr(metrics_server._Handler, "timeout", 1.5)
    number = free_port()
    server, thread = serve_metrics(number, "127.0.0.1", Counting())
    yield number
    server.shutdown()
    server.server_close()
    thread.join()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("half", [b"", b"GET /metrics HTTP/1.1\r\nHost: "])
def test_half_sent_requests_take_no_more_than_a_few_threads(half: bytes, port: int) -> None:
    """A whole request is served among 300 half-sent ones, which use 17 threads at most."""
    # A thread of an earlier test may end meanwhile.
    before = set(threading.enumerate())

    def begun() -> int:
        return len(set(threading.enumerate()) - before)

    with ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            connection.sendall(half)
        assert "looks" in scrape(port)
        wait_until(lambda: begun() <= 17, "those that gave way have ended")
    wait_until(lambda: begun() == 0, "all have ended")


def test_all_who_wait_share_a_look() -> None:
    """Requests that wait together share one collection, which begins after they asked."""
    now = 1.0
    counting = Counting()
    one_look = OneLook(counting, lambda: now)
    counting.may_go_on.clear()
    first, *others = (threading.Thread(target=lambda: list(one_look.collect())) for _ in range(10))
    first.start()
    wait_until(lambda: counting.looks == 1, "the first look has begun")
    # By this clock the others ask together, after the first collection began and as the second begins.
    now = 2.0
    for asker in others:
        asker.start()
    counting.may_go_on.set()
    for asker in (first, *others):
        asker.join()
    assert counting.looks == 2
    now = 3.0
    assert [metric.name for metric in one_look.collect()] == ["looks"]
    assert counting.looks == 3

"""Serve ``/metrics`` with few threads, and collect the metrics once for all waiting scrapes.

``prometheus_client``'s server gives each connection a thread for as long as its client likes: a thousand that
send half a request would take all the threads that a container allows.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_MOST_CONNECTIONS: Final = 16
_REQUEST_SECONDS: Final = 10
_RESPONSE_SECONDS: Final = 60
"""Limit of a response, counted from the connection: a silence of Postgres or the broker must fit in."""


def serve_metrics(port: int, host: str, collector: Collector) -> tuple[WSGIServer, threading.Thread]:
    """Listen in a thread; return the server, to be shut down, and the thread. Raises ``OSError``."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    registry = CollectorRegistry()
    registry.register(OneLook(collector))

    class OfThisFamily(_Server):
        address_family = family

    server = make_server(str(address[0]), port, make_wsgi_app(registry), OfThisFamily, _Handler)
    thread = threading.Thread(target=server.serve_forever, name="threadsync-metrics-http", daemon=True)
    thread.start()
    return server, thread


class OneLook(Collector):
    """Collector that shares a collection among the scrapes that waited for it before it began."""

    def __init__(self, collector: Collector, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._collector = collector
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._metrics: list[Metric] = []
        self._began = -inf

    def collect(self) -> Iterator[Metric]:
        asked = self._monotonic()
        with self._lock:
            if self._began < asked:
                self._began = self._monotonic()
                self._metrics = list(self._collector.collect())
            return iter(self._metrics)

    def describe(self) -> Iterator[Metric]:
        """Name no metrics: a registry would otherwise collect once to know them."""
        yield from ()


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def parse_request(self) -> bool:
        is_whole = super().parse_request()
        if is_whole and isinstance(self.server, _Server):
            self.server.answers(self.connection)
        return is_whole

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    """A server with few places; when all are taken, the slowest request gives way to a new one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}
        self._answered: set[socket.socket] = set()
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            has_place = len(self._since) < _MOST_CONNECTIONS or self._make_room()
            if has_place:
                self._since[request] = time.monotonic()
        if has_place:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def answers(self, request: socket.socket) -> None:
        """Note that a request is whole, so that it keeps its place."""
        with self._lock:
            self._answered.add(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._forget(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on slow connections; called twice a second."""
        now = time.monotonic()
        with self._lock:
            for request, since in list(self._since.items()):
                if now - since > (_RESPONSE_SECONDS if request in self._answered else _REQUEST_SECONDS):
                    self._hang_up(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a client left, or was made to."""

    def _make_room(self) -> bool:
        slowest = next((request for request in self._since if request not in self._answered), None)
        if slowest is None:
            return False
        self._hang_up(slowest)
        return True

    def _hang_up(self, request: socket.socket) -> None:
        self._forget(request)
        # The request's thread then reads the end, and closes the connection.
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _forget(self, request: socket.socket) -> None:
        self._since.pop(request, None)
        self._answered.discard(request)

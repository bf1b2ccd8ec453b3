"""The process that exports the installation's metrics."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.installation import Installation
from tests.support.scraping import scrape
from tests.support.services import start_service
from tests.support.waiting import wait_until
from worker.local.servers.port import free_port


@contextmanager
def exporter(installation: Installation, host: str = "127.0.0.1", **env: str) -> Iterator[int]:
    """``threadsync metrics``; its port."""
    port = free_port()
    child = start_service(
        *("worker.cli", "metrics", "--port", str(port)),
        log_path=installation.logs / "metrics.log",
        env={**installation.env, **env},
        cwd=installation.logs,
    )
    try:
        wait_until(lambda: scrape(port, host), "metrics are shown", 20)
        yield port
    finally:
        assert child.stop(signal.SIGTERM, 10), "it should stop"

"""Flower, as `threadsync flower` starts it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.services import start_service
from tests.support.waiting import wait_until
from worker.local.servers.port import free_port

LOGIN = ("admin", "a password of the tests")


@contextmanager
def flower_of(env: Mapping[str, str], logs: Path) -> Iterator[httpx.Client]:
    """Running, with a worker in sight: a client that has the login. It is stopped as by a deploy."""
    port = free_port()
    settings = {
        **env,
        "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        "FLOWER_DB": str(logs / "flower" / "state"),
        "FLOWER_UNAUTHENTICATED_API": "false",
    }
    arguments = ("flower", "--port", str(port))
    child = start_service("worker.cli", *arguments, log_path=logs / "flower.log", env=settings, cwd=logs)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=LOGIN) as client:
            wait_until(lambda: _workers(client), "Flower sees the worker", timeout=30)
            yield client
    finally:
        child.stop(signal.SIGTERM, 10)
        child.kill()


def _workers(client: httpx.Client) -> object:
    try:
        answer = client.get("/api/workers", params={"refresh": "1"})
    except httpx.TransportError:
        return None
    return answer.status_code == 200 and answer.json()

"""The live view: Flower is told everything about a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from tasks.client import SessionClient
from tests.installation import Installation
from tests.waiting import wait_until
from tests.workers import ROOT
from worker.child import Child
from worker.embedded.port import free_port

LOGIN = ("admin", "a password of the tests")


@pytest.fixture
def flower(shared: Installation) -> Iterator[httpx.Client]:
    """Flower beside the shared worker, as `threadsync up` runs it."""
    port = free_port()
    env = {
        **shared.env,
        "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        "FLOWER_UNAUTHENTICATED_API": "false",
        "PYTHONPATH": str(ROOT),
    }
    argv = [sys.executable, "-m", "celery", "-A", "worker", "flower", "--address=127.0.0.1", f"--port={port}"]
    child = Child(argv, log_path=shared.logs / "flower.log", env=env, cwd=shared.logs)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=LOGIN) as client:
            wait_until(lambda: workers(client), "Flower sees the worker", timeout=30)
            yield client
    finally:
        child.kill()


def workers(client: httpx.Client) -> object:
    try:
        answer = client.get("/api/workers", params={"refresh": "1"})
    except httpx.TransportError:
        return None
    return answer.status_code == 200 and answer.json()


def test_flower_shows_arguments_result_and_times(shared: Installation, flower: httpx.Client) -> None:
    """Sent, received, started, succeeded, each with its time; whoever has no password sees nothing."""
    with SessionClient(shared.broker_url) as client:
        handle = client.get_or_create("C0123", "1700000000.000100", "U1")
        handle.get(timeout=10)
    path = f"/api/task/info/{handle.task_id}"
    wait_until(
        lambda: flower.get(path).status_code == 200 and flower.get(path).json()["state"] == "SUCCESS",
        "Flower has the end of the task",
    )
    info = flower.get(path).json()
    assert info["name"] == "sessions.get_or_create"
    assert info["kwargs"] == "C0123 / 1700000000.000100"
    assert info["result"] == "C0123 / 1700000000.000100 → collecting: created"
    # "Sent" is noted by the producer once the broker has the message; a worker may be quicker than that.
    assert info["sent"] > 0
    assert info["received"] <= info["started"] <= info["succeeded"]
    assert httpx.get(f"{flower.base_url}/tasks").status_code == 401
    assert httpx.get(f"{flower.base_url}{path}").status_code == 401

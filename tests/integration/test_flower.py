"""Flower's view of commands: their arguments, results and times, and no draft."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.flower import flower_of
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.commands import GetOrCreate

CANARY = "ocelot"
DRAFT = {"summary": f"{CANARY} plan", "description": f"the {CANARY} of it", "labels": [CANARY]}
THREAD: dict[str, Any] = {"channel_id": "C0123", "thread_ts": "1700000000.000100"}


@pytest.fixture(scope="module")
def flower(shared: Installation) -> Iterator[httpx.Client]:
    """Start Flower beside the shared worker."""
    with flower_of(shared.env, shared.logs) as client:
        yield client


def test_flower_shows_arguments_result_and_times(shared: Installation, flower: httpx.Client) -> None:
    """Flower shows a command's arguments, result and times to a visitor with the password only."""
    with SessionClient(shared.broker_url) as client:
        # The web process uses Slack's event id as the task id in the same way.
        command = GetOrCreate(**THREAD, user_id="U1")
        handle = client.enqueue(command, task_id="Ev0123ABC")
        handle.get(timeout=10)
    path = "/api/task/info/Ev0123ABC"
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


def test_flower_shows_no_draft(shared: Installation, flower: httpx.Client) -> None:
    """Flower shows no draft, whether its command succeeds, waits or is refused."""
    shared.send("sessions.get_or_create", **THREAD, user_id="U1").get(timeout=10)
    sent = [
        shared.send("sessions.request_sync", **THREAD, draft=DRAFT, drafted_at="1700000001.000100"),
        shared.send("sessions.request_sync", **THREAD, draft={**DRAFT, "labels": CANARY}, drafted_at=CANARY),
        shared.send(
            "sessions.request_sync", **{**THREAD, "channel_id": "C0LATE"}, draft=DRAFT, drafted_at="1.1"
        ),
    ]

    def states() -> set[str]:
        answers = [flower.get(f"/api/task/info/{result.id}") for result in sent]
        return {answer.json()["state"] for answer in answers if answer.status_code == 200}

    wait_until(lambda: states() == {"SUCCESS", "FAILURE"}, "Flower has their ends", 20)
    seen = ""
    for path in ("/api/tasks", "/tasks", "/api/workers", *(f"/api/task/info/{result.id}" for result in sent)):
        seen += flower.get(path).text
    for result in sent:
        seen += flower.get(f"/task/{result.id}").text
    assert "C0123 / 1700000000.000100 \\u2192 ready_to_sync: applied" in seen
    assert CANARY not in seen


def test_flower_remembers(shared: Installation, tmp_path: Path) -> None:
    """Flower remembers tasks over a restart, and starts with a damaged memory."""
    with flower_of(shared.env, tmp_path) as client:
        task_id = shared.send("sessions.get", **THREAD).id
        path = f"/api/task/info/{task_id}"
        wait_until(lambda: client.get(path).status_code == 200, "Flower has seen it")
    state = tmp_path / "flower" / "state"
    with flower_of(shared.env, tmp_path) as client:
        assert client.get(path).status_code == 200
    for file in state.parent.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with flower_of(shared.env, tmp_path) as client:
        assert client.get(path).status_code == 404

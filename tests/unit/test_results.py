"""Reading of a stored result by a client. No server: the store is a fake Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest

from threadsync.errors import (
    CommandFailed,
    JiraKeyConflict,
    SessionNotFound,
    ThreadsyncError,
    UnreadableResult,
)
from threadsync.sending import Broker

TASK_ID = "a-task"


@pytest.fixture
def results() -> Iterator[tuple[Broker, fakeredis.FakeRedis]]:
    """Yield a broker's reading side, and the store that it reads."""
    broker = Broker("redis://127.0.0.1:1/0")
    store = fakeredis.FakeRedis()
    # A fake in place of the connection, which is not under test.
    broker._backend().__dict__["client"] = store
    yield broker, store
    broker.close()


def put(store: fakeredis.FakeRedis, status: str, result: Any) -> None:
    """Write a result as Celery's Redis backend does."""
    meta = {"status": status, "result": result, "traceback": None, "children": [], "task_id": TASK_ID}
    store.set(f"celery-task-meta-{TASK_ID}", json.dumps(meta))


def failure(module: str, name: str, *args: object) -> dict[str, Any]:
    return {"exc_type": name, "exc_module": module, "exc_message": list(args)}


def test_no_result_yet(results: tuple[Broker, fakeredis.FakeRedis]) -> None:
    """There is no result yet of an unfinished task, or of one that waits for its session."""
    broker, store = results
    assert broker.result_of(TASK_ID) == (False, None)
    put(store, "RETRY", failure("threadsync.errors", "SessionNotFound", "C1", "1.1"))
    assert broker.result_of(TASK_ID)[0] is False


@pytest.mark.parametrize("value", [{"outcome": "created"}, None, [], 0])
def test_a_result_is_ready_whatever_it_is(results: tuple[Broker, fakeredis.FakeRedis], value: Any) -> None:
    """A result is ready whatever its value is; `None` means that there is no session."""
    broker, store = results
    put(store, "SUCCESS", value)
    assert broker.result_of(TASK_ID) == (True, value)


@pytest.mark.parametrize(
    ("stored", "expected", "message"),
    [
        (
            failure("threadsync.errors", "JiraKeyConflict", "C1", "1.1", "P-1", "P-2"),
            JiraKeyConflict,
            "P-2 was refused",
        ),
        (
            failure("threadsync.errors", "SessionNotFound", "C1", "1.1"),
            SessionNotFound,
            "no session for thread 1.1",
        ),
        (
            failure("worker.errors", "SessionNotFound", "C1", "1.1"),
            SessionNotFound,
            "no session for thread 1.1",
        ),
        (failure("builtins", "ValueError", "probe"), CommandFailed, "ValueError$"),
        (failure("a.package.not.here", "Strange", "probe"), CommandFailed, "Strange"),
        (failure("os", "system", "true"), CommandFailed, "system"),
        (failure("threadsync.errors", "JiraKeyConflict"), CommandFailed, "JiraKeyConflict"),
    ],
)
def test_a_failure_is_one_of_our_errors(
    results: tuple[Broker, fakeredis.FakeRedis],
    stored: dict[str, Any],
    expected: type[ThreadsyncError],
    message: str,
) -> None:
    """A failure is raised as our own error, and anything else stored is only named, never called."""
    broker, store = results
    put(store, "FAILURE", stored)
    with pytest.raises(expected, match=message):
        broker.result_of(TASK_ID)


def test_a_revoked_task_is_said_to_be(results: tuple[Broker, fakeredis.FakeRedis]) -> None:
    """A revoked task fails with a sentence that says so."""
    broker, store = results
    put(store, "REVOKED", failure("celery.exceptions", "TaskRevokedError", "revoked"))
    with pytest.raises(CommandFailed, match="revoked"):
        broker.result_of(TASK_ID)


def test_a_store_full_of_junk_is_no_result(results: tuple[Broker, fakeredis.FakeRedis]) -> None:
    """A result that cannot be read is reported at once, because no other will replace it."""
    broker, store = results
    store.set(f"celery-task-meta-{TASK_ID}", b"\xff{{{")
    with pytest.raises(UnreadableResult):
        broker.result_of(TASK_ID)

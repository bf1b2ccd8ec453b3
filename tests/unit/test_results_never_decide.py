"""Storage of results, which never decides over a command: worker/durable/results.py."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from celery.app.trace import build_tracer
from celery.exceptions import Retry
from kombu.exceptions import EncodeError, OperationalError

from threadsync.errors import CommandFailed, SessionNotFound
from worker.durable.gathering import Gathers
from worker.durable.results import NeverDecides, WorkersCelery
from worker.observe import metrics

NOBODY_LISTENS = "127.0.0.1:1"
REFUSED: list[Exception] = [
    redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'"),
    redis.ReadOnlyError("READONLY You can't write against a read only replica."),
    redis.exceptions.NoPermissionError("NOPERM this user has no permissions to run the 'set' command"),
    redis.AuthenticationError("NOAUTH Authentication required."),
    redis.BusyLoadingError("LOADING is loading the dataset in memory"),
    redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    redis.ResponseError("CROSSSLOT Keys in request don't hash to the same slot"),
    redis.ResponseError("MISCONF is configured to save RDB snapshots, but it's unable to"),
    redis.TimeoutError("Timeout reading from socket"),
    redis.InvalidResponse("Protocol Error"),
    OperationalError("rpc's broker"),
    OSError(errno.ENOSPC, "No space left on device"),
    SoftTimeLimitExceeded(),
    EncodeError("Object of type object is not JSON serializable"),
    RuntimeError("what nobody thought of"),
    IndexError("a driver that is out of step"),
    MemoryError(),
]


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the counts that the metrics get of lost results."""
    counts: list[int] = []
    monkeypatch.setattr(metrics, "results_lost", counts.append)
    return counts


def app_on(result_backend: str) -> WorkersCelery:
    app = WorkersCelery(broker=f"redis://{NOBODY_LISTENS}/0", backend=result_backend, set_as_current=False)
    app.conf.update(
        result_serializer="json",
        redis_socket_timeout=1.5,
        redis_socket_connect_timeout=1.5,
        result_backend_transport_options={"retry_policy": {"max_retries": 1, "timeout": 1.5}},
        broker_transport_options={"socket_connect_timeout": 0.2},
        task_publish_retry=False,
    )
    return app


def ends(app: WorkersCelery, run: Any, **request: Any) -> tuple[Any, Any]:
    """Run a task by Celery's tracer; return its value and its failure."""
    task = app.task(name="a.task", shared=False)(run)
    trace = build_tracer("a.task", task, app=app)
    answer, failure, *_ = trace("an-id", [], {}, {"id": "an-id", "delivery_info": {}, **request})
    return answer, failure


def succeed() -> int:
    return 1


def answer_no_json() -> object:
    return object()


def fail() -> None:
    raise SessionNotFound("C1", "1.1")


def wait() -> None:
    raise Retry(exc=SessionNotFound("C1", "1.1"), when=datetime.now(UTC))


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: f"{type(error).__name__} {error}"[:30])
def test_no_error_of_a_backend_gets_out(error: Exception, lost: list[int]) -> None:
    """A backend's error changes no end: success, failure, pause and part of a chord stay as they are."""

    class Refuses(fakeredis.FakeRedis):
        def execute_command(self, *_: Any, **__: Any) -> Any:
            raise error

        def pipeline(self, *_: Any, **__: Any) -> Any:
            raise error

    for run, state in ((succeed, None), (fail, "FAILURE"), (wait, "RETRY")):
        app = app_on("redis://")
        app.backend.__dict__["client"] = Refuses()
        answer, found = ends(app, run, chord={"task": "its.body"}, group="a-group")
        assert (found and found.state) == state
        assert answer == 1 or state
    assert sum(lost) >= 3


@pytest.mark.parametrize(
    "address",
    [f"redis://{NOBODY_LISTENS}", f"sentinel://{NOBODY_LISTENS}", "rpc://", "file:///no/such/folder"],
)
@pytest.mark.parametrize(("run", "state"), [(succeed, None), (fail, "FAILURE"), (wait, "RETRY")])
def test_no_kind_of_backend_decides(
    address: str, run: Any, state: str | None, lost: list[int], tmp_path: Path
) -> None:
    """A task ends as it would with any kind of backend, although its results cannot be stored."""
    gone = tmp_path / "results"
    gone.mkdir()
    app = app_on(address if address != "file:///no/such/folder" else f"file://{gone}")
    app.conf.result_backend_transport_options["master_name"] = "master"
    assert isinstance(app.backend, NeverDecides)
    gone.rmdir()
    _answer, failure = ends(app, run, reply_to="somebody", correlation_id="an-id")
    assert (failure and failure.state) == state
    assert lost


@pytest.mark.parametrize("address", ["disabled://", "cache+memory://"])
def test_other_backends_are_as_they_were(address: str, lost: list[int]) -> None:
    """A backend without a server stores its results, or is asked for none, as in Celery."""
    assert ends(app_on(address), succeed) == (1, None)
    assert lost == []


def test_what_is_no_json_is_told_to_whoever_waits(lost: list[int], tmp_path: Path) -> None:
    """A result that is no JSON becomes an error for the client which says that the command succeeded."""
    app = app_on(f"file://{tmp_path}")
    _answer, failure = ends(app, answer_no_json)
    assert failure is None
    with pytest.raises(CommandFailed, match="carried out, its result is lost: EncodeError"):
        app.AsyncResult("an-id").get(timeout=1)
    assert lost == [1]


def test_a_backend_that_is_away_is_left_alone_for_a_while(lost: list[int]) -> None:
    """A backend that is away is not asked again for a while, so that a full queue does not wait for it."""
    asked: list[int] = []

    class Away(fakeredis.FakeRedis):
        def execute_command(self, *_: Any, **__: Any) -> Any:
            asked.append(1)
            raise redis.TimeoutError("Timeout reading from socket")

    app = app_on("redis://")
    app.backend.__dict__["client"] = Away()
    for _ in range(5):
        ends(app, succeed)
    assert (sum(lost), len(asked)) == (5, 1)


@pytest.fixture
def gathering() -> tuple[Any, fakeredis.FakeRedis]:
    """Return a worker's backend, and the store that it writes to."""
    backend: Any = app_on("redis://").backend
    assert isinstance(backend, Gathers)
    store = backend.__dict__["client"] = fakeredis.FakeRedis()
    return backend, store


def test_gathered_results_are_stored_at_the_end(gathering: tuple[Any, fakeredis.FakeRedis]) -> None:
    """Gathered results are stored at the end, and not before."""
    backend, store = gathering
    with backend.gathering():
        backend.store_result("a", 1, "SUCCESS")
        assert store.keys() == []
    assert backend.get_task_meta("a")["result"] == 1


def test_of_gathered_results_only_those_that_are_refused_are_lost(
    gathering: tuple[Any, fakeredis.FakeRedis], lost: list[int]
) -> None:
    """A gathered result that is no JSON is lost alone; the others of its batch are stored."""
    backend, _store = gathering
    with backend.gathering():
        backend.store_result("a", 1, "SUCCESS")
        backend.store_result("b", object(), "SUCCESS")
        backend.store_result("c", 3, "SUCCESS")
    assert [backend.get_task_meta(name)["status"] for name in "abc"] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert lost == [1]


def test_out_of_time_is_no_result(gathering: tuple[Any, fakeredis.FakeRedis]) -> None:
    """A time limit outside the command stores no failure, because the message runs again."""
    backend, store = gathering
    backend.store_result("a", SoftTimeLimitExceeded(), "FAILURE")
    assert store.keys() == []


def test_a_refusal_of_one_is_no_reason_to_leave_the_next(
    gathering: tuple[Any, fakeredis.FakeRedis], lost: list[int]
) -> None:
    """A store that refuses one result is asked for the next, because it is there."""
    backend, store = gathering
    store.rpush("celery-task-meta-a", "no result")
    backend.store_result("a", 1, "SUCCESS")
    with backend.gathering():
        backend.store_result("b", 2, "SUCCESS")
    assert (backend.get_task_meta("b")["result"], lost) == (2, [1])

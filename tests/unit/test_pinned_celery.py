"""Pins on Celery 5.6 and billiard: an upgrade that changes what our worker relies on fails here."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import ANY, MagicMock, Mock

import fakeredis
import pytest
import redis
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback  # type: ignore[attr-defined]
from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import ACK, READY, ApplyResult
from billiard.pool import ResultHandler as BilliardResultHandler
from celery import Celery, _state, exceptions
from celery import platforms as celery_platforms
from celery.app import backends
from celery.app.task import Context
from celery.app.trace import build_tracer, fast_trace_task
from celery.apps.worker import (  # type: ignore[attr-defined]
    _shutdown_handler as install_shutdown_handler,
)
from celery.backends.base import Backend
from celery.backends.redis import RedisBackend, SentinelBackend
from celery.concurrency.base import BasePool
from celery.events import EventDispatcher
from celery.exceptions import InvalidTaskError
from celery.worker import WorkController, components
from celery.worker import request as celery_request
from celery.worker import state as celery_state
from celery.worker.consumer import Consumer
from celery.worker.consumer.events import Events
from celery.worker.request import Request
from celery.worker.strategy import default as strategy
from kombu.exceptions import DecodeError
from kombu.message import Message

from tests.support.pinned import needed_by, overridden
from threadsync.broker.in_step import InStep
from worker.durable.beat import SteadyScheduler
from worker.durable.consumer import DurableConsumer
from worker.durable.gathering import Gathers
from worker.durable.remote_control import WorkersControl, WorkersInspect
from worker.durable.request import DurableRequest, error_in
from worker.durable.results import (
    InStepBackend,
    InStepSentinelBackend,
    NeverDecides,
    ReadsInStep,
    WorkersCelery,
)
from worker.durable.task import DurableTask

BATCH, CONSUMER, PREFORK = (
    "worker/durable/batching.py",
    "worker/durable/consumer.py",
    "worker/durable/pool.py",
)
REQUEST, RESULTS, TASKS = "worker/durable/request.py", "worker/durable/results.py", "worker/durable/task.py"
CELERY = "worker/celery.py"
THEIRS: Any = Request
Arguments = tuple[Any, ...]
celerys_setex = pytest.mark.filterwarnings("ignore:Call to deprecated setex")


@pytest.fixture(autouse=True)
def _outside_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo Celery's note that this process has a pool, which would forbid waiting for a result."""
    monkeypatch.setattr(_state, "_task_join_will_block", False)


@pytest.fixture
def app() -> Celery:
    """Make an app with one task, ``double``, that is connected to nothing."""
    app = Celery("pinned", broker="memory://", set_as_current=False)

    def double(number: int) -> int:
        return 2 * number

    task: Any = app.task(name="double", ignore_result=True, shared=False)(double)
    task.__trace__ = build_tracer("double", task, app=app)
    return app


def message_for(app: Celery, *args: Any) -> Message:
    """Return a message as it comes from the broker."""
    sent = app.amqp.as_task_v2("an id", "double", args=args, kwargs={})
    return Message(
        body=json.dumps(sent.body),
        headers=sent.headers,
        properties=sent.properties,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={"redelivered": True, "routing_key": "q", "exchange": ""},
        accept={"application/json"},
    )


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (
            DurableConsumer,
            {"on_close", "on_unknown_message", "on_unknown_task", "on_invalid_task", "on_decode_error"}
            | {"create_task_handler", "on_send_event_buffered", "_flush_events"}
            | {"start", "connect", "on_connection_error_after_connected"},
        ),
        (SteadyScheduler, {"is_due", "reserve", "_when", "apply_async"}),
        (
            DurableRequest,
            {
                "on_timeout",
                "on_success",
                "on_failure",
                "info",
                "send_event",
                "execute_using_pool",
                "maybe_expire",
            },
        ),
        (WorkersControl, {"Mailbox", "inspect"}),
        (WorkersInspect, {"_prepare"}),
        (DurableTask, {"abstract", "Request", "Strategy", "throws", "max_retries"}),
    ],
)
@needed_by(CONSUMER, REQUEST, RESULTS, TASKS)
def test_what_ours_overrides_is_all_there_and_nothing_else_is_hit(ours: type, expected: set[str]) -> None:
    """Our subclasses override exactly these names, so a renamed hook or a new clash fails here."""
    assert overridden(ours) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        # The last name exists from Celery 5.7 on.
        (NeverDecides, RedisBackend, {"store_result", "on_chord_part_return", "_fail_chain"}),
        (Gathers, RedisBackend, {"_store_result", "_get_result_meta"}),
        (ReadsInStep, RedisBackend, {"_get_pool", "get"}),
        (InStepSentinelBackend, SentinelBackend, {"_transport_options"}),
        (WorkersCelery, Celery, {"_get_backend", "control_cls"}),
        (
            InStep,
            redis.Connection,
            {
                "send_command",
                "pack_commands",
                "send_packed_command",
                "read_response",
                "_send_ping",
                "connect",
                "disconnect",
            },
        ),
    ],
)
@needed_by(RESULTS, "threadsync/broker/in_step.py")
def test_what_stands_in_front_of_a_class_hits_nothing_else(
    ours: type, theirs: type, expected: set[str]
) -> None:
    """Our mixins override exactly these names of the backend or connection that they precede."""
    own = {name for name in vars(ours) if not name.startswith("__")}
    assert own & set(dir(theirs)) == expected & {*dir(theirs), *(expected - {"_fail_chain"})}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (THEIRS.on_accepted, "(self, pid, time_accepted)"),
        (THEIRS.on_timeout, "(self, soft, timeout)"),
        (THEIRS.on_success, "(self, failed__retval__runtime, **kwargs)"),
        (THEIRS.on_failure, "(self, exc_info, send_failed_event=True, return_ok=False)"),
        (THEIRS.reject, "(self, requeue=False)"),
        (Consumer.on_unknown_message, "(self, body, message)"),
        (Consumer.on_unknown_task, "(self, body, message, exc)"),
        (Consumer.on_invalid_task, "(self, body, message, exc)"),
        (Consumer.on_decode_error, "(self, message, exc)"),
        (
            cast(Any, RedisBackend)._store_result,
            "(self, task_id, result, state, traceback=None, request=None, **kwargs)",
        ),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
@needed_by(BATCH, CONSUMER, REQUEST, RESULTS)
def test_a_hook_takes_what_ours_takes(function: Any, expected: str) -> None:
    """Each hook has the arguments that Celery passes to ours."""
    assert str(inspect.signature(function)) == expected


@needed_by(BATCH, REQUEST)
def test_the_strategy_hands_the_request_to_on_task_request(app: Celery) -> None:
    """The strategy hands a request of the task's class to the consumer's ``on_task_request``."""
    consumer = MagicMock(disable_rate_limits=True, event_dispatcher=None, hostname="h")
    consumer.controller.state.revoked = set()
    task: Any = app.tasks["double"]
    task.Request = "worker.durable.request:DurableRequest"
    handler = strategy(task, app, consumer)
    on_task_request, consumer.on_task_request = consumer.on_task_request, Mock()
    message = message_for(app, 2)
    handler(message, None, Mock(), Mock(), [])
    ((request,),) = [call.args for call in on_task_request.call_args_list]
    consumer.on_task_request.assert_not_called()
    assert isinstance(request, DurableRequest)
    assert (request.type, request.id, request.task) == ("double", "an id", task)
    assert (request.args, request.kwargs, request.message) == ([2], {}, message)
    assert (request.body, request.content_type, request.content_encoding) == (
        *(message.body, "application/json", "utf-8"),
    )
    assert request.request_dict["id"] == "an id"
    assert request.delivery_info["redelivered"] is True
    assert (request.revoked(), cast(Any, request)._already_revoked, request.acknowledged) == (False,) * 3


@needed_by(BATCH)
def test_the_strategy_is_called_with_task_app_and_consumer(app: Celery) -> None:
    """The strategy, named ``module:function`` on the task, is called with task, app and consumer."""
    task: Any = app.tasks["double"]
    task.Strategy = f"{__name__}:simple_strategy"
    assert task.start_strategy(app, "a consumer") == (task, app, "a consumer")


def simple_strategy(task: Any, app: Any, consumer: Any) -> Any:
    return task, app, consumer


@needed_by(REQUEST)
def test_what_celery_puts_in_front_of_a_request_class_is_taken_off(app: Celery) -> None:
    """The methods that Celery puts in front of a request class are removed from ours."""
    make = cast(Any, celery_request).create_request_cls
    theirs, ours = (
        make(base, app.tasks["double"], MagicMock(), "h", None) for base in (Request, DurableRequest)
    )
    assert {name for name in vars(theirs) if not name.startswith("__")} == {
        "execute_using_pool",
        "on_success",
    }
    assert ours.execute_using_pool is DurableRequest.execute_using_pool
    assert ours.on_success is DurableRequest.on_success


@needed_by(BATCH)
def test_the_pool_runs_what_a_request_says(app: Celery) -> None:
    """``execute_using_pool`` passes the arguments that a batch takes, with the tracer's in order."""
    task, pool = app.tasks["double"], MagicMock()
    request_class = cast(Any, celery_request).create_request_cls(Request, task, pool, "h", None, app=app)
    request = request_class(message_for(app, 2), app=app, task=task)
    request.execute_using_pool(pool)
    (call,) = pool.apply_async.call_args_list
    assert call.kwargs.pop("args") == (
        *("double", "an id", request.request_dict, request.body),
        *("application/json", "utf-8"),
    )
    assert call.kwargs.keys() == {
        *("accept_callback", "timeout_callback", "callback", "error_callback"),
        *("soft_timeout", "timeout", "correlation_id"),
    }


@needed_by(BATCH)
@pytest.mark.parametrize(("number", "failed"), [(2, 0), (None, 1)])
def test_the_tracer_says_how_it_ended(app: Celery, number: int | None, failed: int) -> None:
    """The tracer returns ``(failed, result as text or ExceptionInfo, seconds)``."""
    localized = (app.tasks, {"application/json"}, "h")
    body: Arguments = ([number], {}, {})
    request = {"id": "an id", "delivery_info": {}}
    end = cast(Any, fast_trace_task)("double", "an id", request, body, None, None, _loc=localized)
    assert (end[0], len(end)) == (failed, 3)
    if failed:
        assert isinstance(end[1], ExceptionInfo)
        assert isinstance(error_in(end[1]), TypeError)
    else:
        assert (end[1], type(end[2])) == ("4", float)


@needed_by(BATCH, REQUEST)
def test_a_failed_end_goes_to_on_failure() -> None:
    """``on_success`` hands a failure that the child has stored on to ``on_failure``."""
    request, error = MagicMock(), MagicMock()
    THEIRS.on_success(request, (1, error, 0.1))
    request.on_failure.assert_called_once_with(error, return_ok=True)


@needed_by(REQUEST, BATCH)
def test_an_error_from_a_child_is_wrapped() -> None:
    """An error from a child is wrapped, with the raised one as ``exception.exc``."""
    try:
        raise LookupError("here")
    except LookupError as exc:
        raised, info = exc, cast(Any, ExceptionInfo())
    assert isinstance(info.exception, ExceptionWithTraceback)
    assert cast(Any, info.exception).exc is raised


@needed_by("worker/durable/retry_policy.py")
def test_the_soft_limit_is_billiards_error() -> None:
    """The soft time limit raises billiard's error, because Celery has no class of its own."""
    assert exceptions.SoftTimeLimitExceeded is SoftTimeLimitExceeded


@needed_by(BATCH, PREFORK, REQUEST)
def test_how_a_job_calls_back() -> None:
    """A job's callbacks come with these arguments, and ``_write_to`` and ``_accepted`` change with them."""
    heard: list[Any] = []

    def hear(name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: heard.append((name, args, kwargs))

    cache: dict[int, Any] = {}
    job: Any = ApplyResult(
        cache,
        hear("callback"),
        accept_callback=hear("accept"),
        timeout_callback=hear("timeout"),
        error_callback=hear("error"),
        timeout=8,
    )
    assert (list(cache.values()), job._write_to, job._accepted) == ([job], None, False)
    job._ack(None, 12.5, 4711, None)
    assert job._accepted is True
    job.handle_timeout(soft=False)
    job._set(None, (True, "an end"))
    job._set(None, (False, "an error"))
    assert heard == [
        ("accept", (4711, 12.5), {}),
        ("timeout", (), {"soft": False, "timeout": 8}),
        ("callback", ("an end",), {}),
        ("error", ("an error",), {}),
    ]
    assert cache == {}


@needed_by(BATCH)
def test_a_slot_is_free_again_when_its_job_has_ended() -> None:
    """The pool releases a job's slot once, at the job's end, and never for a job that it has forgotten."""
    release = Mock()
    cache: dict[int, Any] = {}
    ApplyResult(cache, None)
    (number,) = cache
    handler = MagicMock(
        cache=cache, putlock=SimpleNamespace(release=release), on_ready_counters=None, on_job_ready=None
    )
    cast(Any, BilliardResultHandler)._make_methods(handler)
    handler.on_state_change((ACK, (number, None, 1.0, 4711, None)))
    handler.on_state_change((READY, (number, None, (True, "an end"), 5)))
    handler.on_state_change((READY, (number, None, (True, "an end"), 5)))
    release.assert_called_once_with()


@needed_by(BATCH)
def test_single_commands_wait_at_the_same_semaphore() -> None:
    """Single commands wait at ``controller.semaphore``, which is None without an event loop."""
    assert WorkController.semaphore is None
    controller = MagicMock()
    cast(Any, WorkController)._process_task_sem(controller, "a request")
    controller._quick_acquire.assert_called_once_with(controller._process_task, "a request")
    worker = MagicMock(use_eventloop=True, pool_putlocks=True, min_concurrency=2)
    worker.app.conf.worker_pool = "prefork"
    cast(Any, components.Pool).create(MagicMock(), worker)
    assert worker.process_task is worker._process_task_sem
    assert worker._quick_acquire == worker.semaphore.acquire


@needed_by(CONSUMER, PREFORK, BATCH)
def test_a_consumer_that_closes_clears_the_semaphore_and_flushes_the_pool() -> None:
    """A consumer's ``on_close`` clears the semaphore and flushes the pool."""
    consumer = MagicMock(task_buckets={})
    Consumer.on_close(consumer)
    consumer.controller.semaphore.clear.assert_called_once_with()
    consumer.pool.flush.assert_called_once_with()
    assert cast(Any, BasePool)._pool is None
    assert "on_close" in Consumer.start.__code__.co_names


@needed_by(CONSUMER)
@pytest.mark.parametrize(
    ("headers", "trouble", "hook", "arguments"),
    [
        (None, None, "on_unknown_message", (None, ANY)),
        ({}, ValueError("no JSON"), "on_decode_error", (ANY, ANY)),
        ({"task": "unheard of"}, None, "on_unknown_task", (None, ANY, ANY)),
        ({"task": "known"}, InvalidTaskError("bad"), "on_invalid_task", (None, ANY, ANY)),
        ({"task": "known"}, DecodeError("bad"), "on_decode_error", (ANY, ANY)),
    ],
)
def test_each_way_of_being_unreadable_has_its_hook(
    headers: Any, trouble: Exception | None, hook: str, arguments: Arguments
) -> None:
    """Each kind of unreadable message calls its hook on the consumer."""
    consumer, message = MagicMock(), MagicMock(headers=headers)
    message.decode.side_effect = trouble
    consumer.strategies = {"known": Mock(side_effect=trouble)}
    Consumer.create_task_handler(consumer)(message)
    getattr(consumer, hook).assert_called_once_with(*arguments)


@needed_by(CONSUMER)
def test_an_event_that_is_kept_back_is_told_to_the_consumer() -> None:
    """A buffered event is reported to ``on_send_event_buffered``, and ``flush`` then sends all of them."""
    consumer = MagicMock()
    step: Any = Events(consumer)
    step.start(consumer)
    ((_, options),) = consumer.app.events.Dispatcher.call_args_list
    assert options["buffer_group"] == ["task"]
    assert options["on_send_buffered"] is consumer.on_send_event_buffered
    assert str(inspect.signature(Consumer.on_send_event_buffered)) == "(self)"
    assert str(inspect.signature(EventDispatcher.flush)) == "(self, errors=True, groups=True)"


@needed_by(CONSUMER)
def test_events_are_kept_back_up_to_buffer_limit(app: Celery) -> None:
    """Events are buffered up to ``buffer_limit``, which is read again for each event."""
    with app.connection_for_write() as connection:
        dispatcher: Any = EventDispatcher(connection, app=app, enabled=False, buffer_group=["task"])
        dispatcher.enabled, dispatcher.flush, dispatcher.buffer_limit = True, Mock(), 2
        dispatcher.send("task-sent")
        dispatcher.flush.assert_not_called()
        dispatcher.send("task-sent")
        dispatcher.flush.assert_called_once_with()


@pytest.fixture
def backend() -> Any:
    """Make our backend with a fake Redis."""
    app = WorkersCelery("pinned", backend="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.result_serializer = "json"
    backend: Any = app.backend
    backend.__dict__["client"] = fakeredis.FakeRedis()
    return backend


@celerys_setex
@needed_by(RESULTS)
def test_a_gathered_result_is_stored_as_celery_stores_one(backend: Any) -> None:
    """A gathered result has the same key, fields and time to live as one that Celery stores."""
    request = SimpleNamespace(group="a group", parent_id="a parent", children=[])
    backend._is_extended = True
    backend.store_result("alone", {"n": 1}, "SUCCESS", request=request)
    backend._is_extended = False
    with backend.gathering():
        backend.store_result("together", {"n": 1}, "SUCCESS", request=request)
        assert backend.client.keys() == [b"celery-task-meta-alone"]
    stored = {}
    for task_id in ("alone", "together"):
        key = f"celery-task-meta-{task_id}"
        fields = json.loads(backend.client.get(key))
        date = re.sub(r"\d", "0", re.sub(r"\.\d+", "", fields["date_done"]))
        stored[task_id] = {**fields, "task_id": "", "date_done": date}
        assert 0 < backend.client.ttl(key) <= backend.expires
    assert stored["together"] == stored["alone"]
    assert stored["alone"].keys() >= {"status", "result", "traceback", "children", "group_id", "parent_id"}


@celerys_setex
@needed_by(RESULTS)
def test_who_waits_hears_of_the_key_itself(backend: Any) -> None:
    """Celery publishes a result on a channel with the key's name."""
    listener = backend.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("celery-task-meta-an id")
    listener.get_message(timeout=1)
    backend.store_result("an id", 1, "SUCCESS")
    heard = listener.get_message(timeout=1)
    assert json.loads(heard["data"])["result"] == 1
    listener.close()


@needed_by(CELERY, RESULTS)
def test_a_loader_may_say_which_backend_a_url_has(app: Celery) -> None:
    """A loader's ``override_backends`` goes before Celery's own table of backends."""
    app.loader.override_backends = {"redis": "worker.durable.results:InStepBackend"}
    backend, url = cast(Any, backends).by_url("redis://127.0.0.1:1/0", app.loader)
    assert (backend, url) == (InStepBackend, "redis://127.0.0.1:1/0")


@needed_by(RESULTS)
@pytest.mark.parametrize(
    "address", ["redis://h", "rediss://h?ssl_cert_reqs=required", "sentinel://h", "rpc://", "file:///tmp"]
)
def test_an_app_makes_its_backend_by_a_method_of_its_own(address: str) -> None:
    """An app makes its backend once, by ``_get_backend``, so ours precedes any backend."""
    app = WorkersCelery("pinned", broker="memory://", backend=address, set_as_current=False)
    assert isinstance(app.backend, NeverDecides)
    assert app.backend is app.backend
    assert isinstance(app.backend, RedisBackend) == isinstance(app.backend, Gathers)


@needed_by(RESULTS)
def test_a_backend_tells_by_two_methods() -> None:
    """The base class's ``mark_as_…`` call ``store_result`` and ``on_chord_part_return``."""
    backend: Any = Mock(spec=["store_result", "on_chord_part_return", "_call_task_errbacks", "_fail_chain"])
    request = Context({"id": "an id", "chord": {"task": "its.body"}})
    Backend.mark_as_done(backend, "an id", 1, request)
    Backend.mark_as_failure(backend, "an id", ValueError(), request=request)
    Backend.mark_as_retry(backend, "an id", ValueError(), request=request)
    assert [call.args[2] for call in backend.store_result.call_args_list] == ["SUCCESS", "FAILURE", "RETRY"]
    assert [call.args[1] for call in backend.on_chord_part_return.call_args_list] == ["SUCCESS", "FAILURE"]


@needed_by("worker/durable/silence.py")
@pytest.mark.parametrize("how", ["Warm", "Cold"])
def test_a_stop_that_was_asked_for_is_a_flag(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requested stop sets a flag to the exit code 0, which is neither False nor None."""
    flag = {"Warm": "should_stop", "Cold": "should_terminate"}[how]
    handlers: dict[str, Callable[..., None]] = {}
    monkeypatch.setattr(celery_platforms, "signals", handlers)
    monkeypatch.setattr(celery_state, flag, None)
    install_shutdown_handler(Mock(), sig="SIGTERM", how=how, verbose=False)
    handlers["SIGTERM"]()
    assert getattr(celery_state, flag) == 0

"""Run commands together that arrived together: one job for a child, one SQL pipeline, one of results.

    main process    handler -> Batches.add, for each message
                    a child is free -> all that has come until then, as one job of the pool
    child           run_batch: all statements down one pipeline, then Celery's own tracer for each command,
                    which finds its outcome ready; so signals, retries, dead letters, logs and traces are
                    those of single tasks
    main process    each request hears of its own end: events, acknowledgement

No command waits for a batch to fill: while a child is free, one that comes alone runs alone. A redelivered
command always runs alone, so that a poison message takes no other command down with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import structlog
from billiard.einfo import ExceptionInfo
from celery import current_app
from celery.app.trace import fast_trace_task
from celery.worker.strategy import default as celery_strategy
from kombu.serialization import loads

from threadsync.errors import DatabaseUnavailable
from worker.db.forgetting.arrivals import redaction, without_looking
from worker.db.sessions.store import SessionStore
from worker.durable.children import TakingConsumer, has_children
from worker.durable.gathering import gathering
from worker.durable.request import error_in
from worker.durable.task import batch_of_commands
from worker.durable.waiting import WaitingInBroker
from worker.observe.tracing import batch_span

if TYPE_CHECKING:
    from worker.db.statement import Statement

T = TypeVar("T")
Request = Any
"""A ``DurableRequest``; the stubs do not know what Celery adds to its class for each task."""

Item = tuple[str, str, dict[str, Any], Any, str | None, str | None]
"""Arguments of Celery's tracer: task name, id, request, body, content type and encoding."""

MOST_AT_ONCE: Final = 64
"""Most commands in a transaction: the more, the longer each of them waits for the last one."""

log = structlog.get_logger("threadsync.worker")


class GatheringConsumer(TakingConsumer, Protocol):
    """A consumer that gathers commands in ``batches``."""

    @property
    def batches(self) -> Batches: ...


def strategy(task: Any, celery: Any, consumer: GatheringConsumer) -> Callable[..., Any]:
    """Build Celery's own strategy, with requests gathered before the pool (``CommandTask.Strategy``)."""
    handler: Callable[..., Any] = celery_strategy(
        task, celery, WaitingInBroker(consumer, consumer.batches.add)
    )
    return handler


class Batches:
    """Queue of a consumer's requests that wait for a process of the pool.

    Celery's semaphore tells when one is free; the single commands of other tasks wait at it, too.
    """

    def __init__(self, consumer: TakingConsumer) -> None:
        self._consumer = consumer
        self._waiting: deque[Request] = deque()
        self._is_in_line = False

    def add(self, request: Request) -> None:
        """Run a request as soon as a process is free, with all that have come until then."""
        # Pool solo ends a job before it returns, and gives no place back. And it is jobs that Celery counts,
        # where it replaces a process after a number of tasks.
        is_alone = not has_children(self._consumer) or self._consumer.controller.max_tasks_per_child
        if is_alone or request.delivery_info.get("redelivered"):
            self._consumer.on_task_request(request)
            return
        self._waiting.append(request)
        if not self._is_in_line:
            self._is_in_line = True
            # Not at once: the same TAKE may have brought more.
            self._consumer.hub.call_soon(self._stand_in_line)

    def forget(self) -> None:
        """Forget all requests when the consumer closes: their messages are delivered again."""
        self._waiting.clear()
        self._is_in_line = False

    def _stand_in_line(self) -> None:
        self._consumer.controller.semaphore.acquire(self._use_process)

    def _use_process(self) -> None:
        most = min(len(self._waiting), MOST_AT_ONCE)
        requests = [self._waiting.popleft() for _ in range(most)]
        wanted = [request for request in requests if request.is_wanted()]
        self._is_in_line = bool(self._waiting)
        if self._waiting:
            self._stand_in_line()
        if not wanted or not self._give(wanted):
            self._consumer.controller.semaphore.release()

    def _give(self, requests: Sequence[Request]) -> bool:
        """Give requests to the pool; after a failure each is delivered again, alone."""
        try:
            _Batch(requests).execute(self._consumer.pool)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the place in the pool is free again
            log.warning("batch not given", count=len(requests), reason=f"{type(exc).__name__}: {exc}")
            for request in requests:
                if len(requests) == 1:
                    request.cannot_run(exc)
                else:
                    request.hand_back()
            return False
        return True


class _Batch:
    """A job of the pool, and its requests."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests

    def execute(self, pool: Any) -> None:
        task = self._requests[0].task
        pool.apply_async(
            run_batch,
            args=([_item(request) for request in self._requests],),
            accept_callback=self._on_accepted,
            timeout_callback=self._on_timeout,
            callback=self._on_success,
            error_callback=self._on_failure,
            soft_timeout=task.soft_time_limit,
            timeout=task.time_limit,
            correlation_id=self._requests[0].id,
        )

    def _on_accepted(self, pid: int, time_accepted: float) -> None:
        for request in self._requests:
            request.on_accepted(pid, time_accepted)

    def _on_timeout(self, soft: bool, timeout: float) -> None:
        for request in self._requests:
            request.on_timeout(soft, timeout)

    def _on_success(self, failed__ends__runtime: tuple[int, Any, float], **_: Any) -> None:
        failed, ends, _runtime = failed__ends__runtime
        if failed:
            self._on_failure(ends)
            return
        for request, end in zip(self._requests, ends, strict=True):
            request.on_success(end)

    def _on_failure(self, exc_info: Any, **_: Any) -> None:
        """Hand each message back after a failure of the batch: it comes alone the next time."""
        log.warning("batch handed back", count=len(self._requests), reason=str(error_in(exc_info)))
        for request in self._requests:
            if request._already_revoked or len(self._requests) == 1:
                # An operator ended this one; the others of the batch were not meant.
                request.on_failure(exc_info)
            else:
                request.hand_back()


def _item(request: Request) -> Item:
    body, content_type, encoding = request.body, request.content_type, request.content_encoding
    return request.type, request.id, request.request_dict, body, content_type, encoding


# Outcomes of this child's current batch, by task id.
_ready: dict[str, object] = {}


def outcome_of(task_id: str, statement: Callable[[], Statement[T]]) -> T:
    """Return the statement's result, from the pipeline that ran it already or by running it now."""
    if task_id not in _ready:
        return SessionStore().execute(statement())
    outcome = _ready.pop(task_id)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome  # type: ignore[return-value]


def run_batch(items: Sequence[Item]) -> tuple[int, list[Any], float]:
    """Run a batch in a child; return the end of each command, in the form of Celery's tracer."""
    if _is_redelivered(items[0]):
        # Alone, then. Its result may be there already, and stays: Celery's own way to store one looks first.
        return 0, [_traced(items[0])], 0.0
    decoded = [_decoded(item) for item in items]
    ends: list[Any] = []
    try:
        # One alone runs its statement itself.
        if len(items) > 1:
            with batch_span(request for _name, _id, request, *_rest in decoded):
                _run_statements(decoded)
        is_away = any(isinstance(outcome, DatabaseUnavailable) for outcome in _ready.values())
        # A look would take as long as the statements did, and there is no time for a third such wait.
        looking = without_looking() if is_away else nullcontext()
        with gathering(current_app.backend), batch_of_commands(), looking:
            for item in decoded:
                ends.append(_traced(item))
    # The time limit, after all that was to be done.
    except Exception as exc:
        if len(ends) < len(items):
            raise
        log.warning("results lost", count=len(items), reason=f"{type(exc).__name__}: {exc}")
    finally:
        _ready.clear()
    return 0, ends, 0.0


def _is_redelivered(item: Item) -> bool:
    _name, _id, request, *_body = item
    return bool((request.get("delivery_info") or {}).get("redelivered"))


def _decoded(item: Item) -> Item:
    """Parse a command's body, once for all uses; the main process has checked that it can be parsed."""
    name, task_id, request, body, content_type, encoding = item
    if content_type is None:
        return item
    parsed = loads(body, content_type, encoding or "utf-8", accept={"application/json"})
    return name, task_id, request, _without_forgotten(parsed), None, None


def _without_forgotten(parsed: Any) -> Any:
    """Leave forgotten people out, as the task does: the statements run before the task."""
    known = redaction()
    if not known:
        return parsed
    args, kwargs, embed = parsed
    return known.values(args), known.arguments(kwargs), embed


def _run_statements(items: Sequence[Item]) -> None:
    """Run the statements, and fill ``_ready``. An invalid command or a repeated id is left to its task."""
    # Each of them a ``CommandTask``, which the app's registry cannot say.
    tasks: Any = current_app.tasks
    statements: dict[str, Statement[Any]] = {}
    for name, task_id, _request, (args, kwargs, _embed), _type, _encoding in items:
        if task_id not in statements:
            # Whatever is wrong with it: its task meets the same error, and the others do not.
            with suppress(Exception):
                statements[task_id] = tasks[name].statement(args, kwargs)
    try:
        outcomes: Sequence[object] = SessionStore().execute_many(list(statements.values()))
    # The database away, or the time limit: each command waits, as it would alone.
    except Exception as exc:  # noqa: BLE001
        outcomes = [exc] * len(statements)
    _ready.update(zip(statements, outcomes, strict=True))


def _traced(item: Item) -> Any:
    try:
        return fast_trace_task(*item)
    # The same as the pool's result for an error from outside a task.
    except Exception:  # noqa: BLE001
        return 1, ExceptionInfo(), 0.0

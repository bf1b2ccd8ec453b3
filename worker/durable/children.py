"""Give jobs to the children of Celery's pool from the worker's main process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from celery.concurrency.prefork import TaskPool as PreforkPool

from worker.durable.limits import SOFT_TIME_LIMIT_SECONDS, TIME_LIMIT_SECONDS


class TakingConsumer(Protocol):
    """The parts of Celery's consumer that gathering, suspects and dead letters use; untyped in Celery."""

    app: Any
    pool: Any
    hub: Any
    controller: Any
    qos: Any
    connection_errors: tuple[type[Exception], ...]
    on_task_request: Callable[[Any], None]
    held_until_due: int
    event_dispatcher: Any
    hostname: str

    @property
    def timer(self) -> Any: ...

    def call_soon(self, p: Any, *args: Any) -> Any: ...


def has_children(consumer: TakingConsumer) -> bool:
    """Return False for pool solo, which runs a job before it returns and has no places."""
    return isinstance(consumer.pool, PreforkPool)


def when_a_child_is_free(consumer: TakingConsumer, use: Callable[..., Any], *args: Any) -> None:
    """Call ``use`` once a child is free; it gives a job to the pool, whose end frees the child again."""
    if has_children(consumer):
        consumer.controller.semaphore.acquire(use, *args)
    else:
        use(*args)


def run_in_a_child(
    consumer: TakingConsumer,
    function: Callable[..., Any],
    *args: Any,
    then: Callable[..., None],
    lost: Callable[..., None],
    key: str,
) -> Any:
    """Run a function within a command's time limits; call ``lost`` after an error or the child's death."""
    return consumer.pool.apply_async(
        function,
        args=args,
        callback=then,
        error_callback=lost,
        accept_callback=_nothing,
        timeout_callback=_nothing,
        soft_timeout=SOFT_TIME_LIMIT_SECONDS,
        timeout=TIME_LIMIT_SECONDS,
        correlation_id=key,
    )


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in for a hook that Celery's pool calls without asking whether there is one."""

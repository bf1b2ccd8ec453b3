"""The sending side's way to the broker: publish within a deadline, look a result up. No database driver."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, TypeVar
from uuid import uuid4

import redis
from celery import Celery
from celery.backends.base import Backend
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError

from tasks.command import Command
from worker.config import load_settings
from worker.connection import verified_tls
from worker.errors import EnqueueFailed, InvalidSettings, as_ours
from worker.installation import options_for
from worker.signs import Signs, look

T = TypeVar("T")

_DEADLINE_SECONDS: Final = 0.9
"""Slack wants its answer within 3 s, and `EnqueueFailed` is promised within one."""

_SOCKET_SECONDS: Final = 0.3
_THREADS: Final = 8
_FAILED: Final = frozenset({"FAILURE", "REVOKED"})
_TROUBLE: Final = (KombuError, redis.RedisError, OSError)


class Broker:
    """Connections to the broker and to the result backend, made on first use. Safe for threads and forks.

    Publishing runs in threads of its own, because only so is a deadline kept whatever the network does:
    a peer that is silent, a resolver that hangs, a connection pool that others have emptied.
    """

    def __init__(self, broker_url: str | None = None, result_backend: str | None = None) -> None:
        given = {"celery_broker_url": broker_url, "celery_result_backend": result_backend}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        if settings.broker_url is None:
            raise InvalidSettings("CELERY_BROKER_URL is not set: commands have no broker to go to")
        options = settings.celery_broker_transport_options
        known = str(settings.installation_id) if settings.installation_id else None
        producing = {**options, **options_for(known, is_redis=settings.broker_is_redis)}
        self._app = _producer(settings.broker_url, is_redis=settings.broker_is_redis, options=producing)
        self._results_app = _result_reader(settings.result_backend_url, options)
        self._results: Backend | None = None
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._threads_owner = 0

    def send(self, command: Command[Any], task_id: str | None = None) -> str:
        """Publish; returns the task's id once the broker has the message. Raises ``EnqueueFailed``."""
        return self._within_deadline(lambda: self._publish(command, task_id or str(uuid4())))

    async def send_async(self, command: Command[Any], task_id: str | None = None) -> str:
        """The same for asyncio."""
        return await self._within_deadline_async(lambda: self._publish(command, task_id or str(uuid4())))

    def ping(self) -> None:
        """Return when the broker answers. Raises ``EnqueueFailed``."""
        self._within_deadline(self._connect)

    async def ping_async(self) -> None:
        """The same for asyncio."""
        await self._within_deadline_async(self._connect)

    def signs(self) -> Signs | None:
        """Whether messages are taken; None where the broker keeps no signs. Raises ``EnqueueFailed``."""
        return self._within_deadline(self._look)

    async def signs_async(self) -> Signs | None:
        """The same for asyncio."""
        return await self._within_deadline_async(self._look)

    def result_of(self, task_id: str) -> tuple[bool, Any]:
        """Whether the result is there, and what it is. Raises what the worker raised, as an error of ours."""
        try:
            meta = self._backend().get_task_meta(task_id)
        except _TROUBLE:
            return False, None  # the result may well be there: whoever asks decides how long to go on
        except CeleryError as exc:
            # It names something that is no exception: Celery calls no such thing.
            raise as_ours(exc) from exc
        if meta["status"] in _FAILED:
            raise as_ours(meta["result"])
        return meta["status"] == "SUCCESS", meta["result"]

    def close(self) -> None:
        """Close what is open; a later call opens it again."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._results = None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._app.close()
        self._results_app.close()

    def _backend(self) -> Backend:
        """One for all threads: Celery's property would make one a thread, each with its own connections."""
        with self._lock:
            if self._results is None:
                self._results = self._results_app.backend
            return self._results

    def _publish(self, command: Command[Any], task_id: str) -> str:
        self._app.send_task(
            command.name,
            kwargs=command.arguments(),
            # What Flower shows.
            kwargsrepr=command.summary(),
            queue=command.queue,
            task_id=task_id,
        )
        return task_id

    def _connect(self) -> None:
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            _ = connection.default_channel

    def _look(self) -> Signs | None:
        # Not from the pool: one that died while it lay there is no sign that the broker is away.
        with self._app.connection_for_read() as connection:
            return look(connection.default_channel)

    def _within_deadline(self, work: Callable[[], T]) -> T:
        future = self._submit(work)
        try:
            return future.result(_DEADLINE_SECONDS)
        except TimeoutError as exc:
            future.cancel()
            raise _too_late() from exc

    async def _within_deadline_async(self, work: Callable[[], T]) -> T:
        future = self._submit(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), _DEADLINE_SECONDS)
        except TimeoutError as exc:
            raise _too_late() from exc

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._threads is None or self._threads_owner != os.getpid():
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="threadsync-enqueue")
                self._threads_owner = os.getpid()
            # With the caller's context, in which its trace is.
            return self._threads.submit(copy_context().run, _translated, work)


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except _TROUBLE as exc:
        raise EnqueueFailed(f"the broker did not take the message: {type(exc).__name__}: {exc}") from exc


def _too_late() -> EnqueueFailed:
    return EnqueueFailed(f"the broker did not answer within {_DEADLINE_SECONDS:g} s")


def _producer(broker_url: str, *, is_redis: bool, options: Mapping[str, Any]) -> Celery:
    amqp = "worker.connection:DurableAMQP"
    app = Celery("threadsync-client", broker=broker_url, amqp=amqp, set_as_current=False)
    # With a backend each publish would first subscribe to its result's channel, and wait for that. A setting
    # does not do: Celery prefers CELERY_RESULT_BACKEND to it.
    app.backend_cls = "disabled://"
    app.conf.update(
        # Both, because Celery would prefer CELERY_BROKER_URL to an address that was given.
        broker_read_url=broker_url,
        broker_write_url=broker_url,
        **verified_tls(broker_url),
        task_serializer="json",
        # Flower's "sent" time.
        task_send_sent_event=True,
        # One more try at once covers a connection that died while it lay in the pool.
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.1,
        },
        broker_connection_timeout=_SOCKET_SECONDS,
        broker_transport_options={**_short_timeouts(), **options} if is_redis else {},
    )
    return app


def _result_reader(result_backend_url: str | None, options: Mapping[str, Any]) -> Celery:
    app = Celery("threadsync-results", backend=result_backend_url, set_as_current=False)
    app.conf.update(
        result_serializer="json",
        accept_content=["json"],
        result_backend_transport_options=dict(options),
        redis_socket_timeout=_SOCKET_SECONDS,
        redis_socket_connect_timeout=_SOCKET_SECONDS,
    )
    return app


def _short_timeouts() -> dict[str, Any]:
    return {
        "socket_timeout": _SOCKET_SECONDS,
        "socket_connect_timeout": _SOCKET_SECONDS,
        "socket_keepalive": True,
    }

"""Pins on Celery's and billiard's pools: a change of what worker/durable/pool.py relies on fails here."""

from __future__ import annotations

import inspect
import os
import select
import signal
from pickle import dumps, loads
from struct import pack
from time import monotonic
from types import GeneratorType, SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock, Mock

import pytest
from billiard import pool as billiard_pool
from billiard.pool import TASK, ApplyResult, Worker
from billiard.pool import Pool as BilliardPool
from celery.bin.worker import WorkersPool
from celery.concurrency import prefork, solo
from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.worker.loops import asynloop
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from tests.support.pinned import needed_by, overridden
from worker.durable.pool import DurablePool, DurableTaskPool

PREFORK = "worker/durable/pool.py"


class UnforkedPool(AsynPool):
    """Celery's prefork pool without a process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def without_processes(pool: Any, *_: Any, **__: Any) -> None:
            pool._cache, pool._pool, pool._state, pool._timeout_handler = {}, [], 0, None

        monkeypatch.setattr(BilliardPool, "__init__", without_processes)
        super().__init__(processes=0)


class UnforkedPoolOfOurs(UnforkedPool, DurablePool):
    """Our prefork pool without a process."""


@needed_by(PREFORK)
def test_what_is_being_written_to_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job being written has ``_write_to`` from its first byte on, and ``_active_writes`` to the last."""
    pool: Any = UnforkedPool(monkeypatch)
    hub: Any = Hub()
    read, write = os.pipe()
    try:
        room = False

        def send(buffer: Any, offset: int) -> int:
            if not room:
                raise BlockingIOError(11, "full")
            return len(buffer) - offset

        child = SimpleNamespace(send_job_offset=send, index=0)
        pool._fileno_to_inq[write] = child
        pool._all_inqueues.add(write)
        pool._create_write_handlers(hub)
        job: Any = ApplyResult(pool._cache, None)
        pool._quick_put((TASK, (job._job, None, len, (), {})))
        assert (job._write_to, pool._active_writes) == (None, set())
        hub.consolidate_callback([write])
        assert (job._write_to, pool._active_writes) == (child, {write})
        writer = hub.writers[write][0]
        assert isinstance(writer, GeneratorType)
        assert job._writer() is writer
        room = True
        assert next(writer, "written") == "written"
        assert pool._active_writes == set()
    finally:
        hub.close()
        os.close(read)
        os.close(write)


@needed_by(PREFORK)
@pytest.mark.parametrize(("size", "writes"), [(10, 1), (select.PIPE_BUF, 2)])
def test_a_small_job_is_one_write(monkeypatch: pytest.MonkeyPatch, size: int, writes: int) -> None:
    """A job is written in one piece if a pipe takes it whole or not at all; the bytes are Celery's."""
    pool: Any = UnforkedPoolOfOurs(monkeypatch)
    pool.soft_timeout = pool.timeout = pool.lost_worker_timeout = pool._putlock = None
    pool.on_timeout_set = pool.on_timeout_cancel = None
    pool.putlocks = pool.threads = False
    hub: Any = Hub()
    read, write = os.pipe()
    written: list[bytes] = []
    try:

        def send(buffer: Any, offset: int) -> int:
            written.append(bytes(buffer[offset:]))
            return len(written[-1])

        pool._fileno_to_inq[write] = SimpleNamespace(send_job_offset=send, index=0)
        pool._all_inqueues.add(write)
        pool._create_write_handlers(hub)
        pool._hub = hub
        pool.apply_async(len, ("x" * size,))
        body = written[-1] if writes > 1 else written[0][4:]
        assert len(written) == writes
        assert b"".join(written) == pack(">I", len(body)) + body
        kind, (_job, _place, function, args, _kwargs) = loads(body)  # noqa: S301 - its own
        assert (kind, function, args) == (TASK, len, ("x" * size,))
        assert pool._active_writes == set()
    finally:
        hub.close()
        os.close(read)
        os.close(write)


@needed_by(PREFORK)
def test_an_answer_that_is_half_read_is_a_generator_of_the_event_loop() -> None:
    """A half-read result is a generator in the event loop, which goes on where it stopped."""
    heard: list[Any] = []
    hub: Any = Hub()
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        handler: Any = SimpleNamespace(fileno_to_outq={read: "a child"}, on_state_change=heard.append)
        handler._recv_message = cast(Any, ResultHandler)._recv_message.__get__(handler)
        handler.handle_event = cast(Any, ResultHandler)._make_process_result(handler, hub)
        hub.add_reader(read, handler.handle_event, read)
        answer = dumps(("an", "answer"))
        whole = pack(">i", len(answer)) + answer
        os.write(write, whole[:-1])
        handler.handle_event(read)
        half_read = hub.readers[read][0]
        assert isinstance(half_read, GeneratorType)
        os.write(write, whole[-1:])
        assert next(half_read, "read") == "read"
        assert heard == [("an", "answer")]
        assert hub.readers[read] == (handler.handle_event, (read,))
    finally:
        hub.close()
        os.close(read)
        os.close(write)


@needed_by(PREFORK)
def test_a_flush_forgets_what_no_child_has_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush forgets the jobs that no child has accepted, and which child is busy."""
    pool: Any = UnforkedPool(monkeypatch)
    monkeypatch.setattr(pool, "maintain_pool", Mock())
    waits, runs = ApplyResult(pool._cache, None), ApplyResult(pool._cache, None)
    cast(Any, waits)._write_to = "a child"
    cast(Any, runs)._ack(None, 1.0, 4711, None)
    pool._busy_workers.add(5)
    pool.flush()
    assert list(pool._cache.values()) == [runs]
    assert pool._busy_workers == set()


@needed_by(PREFORK)
def test_a_lost_connection_empties_the_event_loop() -> None:
    """A lost connection removes descriptors and timers from the event loop, and the loop itself."""
    hub: Any = Hub()
    read, write = os.pipe()
    try:
        set_event_loop(hub)
        hub.add_reader(read, len, "x")
        hub.add_writer(write, len, "x")
        hub.call_later(60, len)
        hub.reset()
        assert (hub.readers, hub.writers, get_event_loop()) == ({}, {}, None)
        hub.timer.clear()
        assert hub.timer._queue == []
        # Celery 5.7 cancels only its own timers; ours are set again in any case.
        assert {"reset", "timer"} <= set(asynloop.__code__.co_names)
    finally:
        hub.close()
        os.close(read)
        os.close(write)


@needed_by(PREFORK)
def test_the_pool_is_registered_again_with_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is registered again with each connection, and reads each child's results."""
    pool: Any = UnforkedPool(monkeypatch)
    pool._fileno_to_outq[5] = "a child"
    pool._result_handler, hub = MagicMock(), MagicMock()
    pool.register_with_event_loop(hub)
    hub.add_reader.assert_any_call(5, pool.handle_result_event, 5)
    assert pool.handle_result_event is pool._result_handler.handle_event
    assert str(inspect.signature(pool.on_timeout_set)) == "(R, soft, hard)"
    assert "register_with_event_loop" in asynloop.__code__.co_names


@needed_by(PREFORK)
def test_a_job_was_accepted_by_the_monotonic_clock() -> None:
    """A job's acceptance is timed by the monotonic clock, so ``_time_accepted`` compares with ours."""
    assert inspect.signature(cast(Any, Worker).workloop).parameters["now"].default is monotonic


@needed_by(PREFORK)
@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (
            DurablePool,
            {
                *("ResultHandler", "Worker", "apply_async", "register_with_event_loop", "flush"),
                *("_event_process_exit", "_on_soft_timeout", "_on_hard_timeout"),
            },
        ),
        (DurablePool.Worker, {"after_fork"}),
        (DurablePool.ResultHandler, {"_recv_message", "_flush_outqueue"}),
        (DurableTaskPool, {"Pool"}),
    ],
)
def test_what_ours_overrides_is_all_there_and_nothing_else_is_hit(ours: type, expected: set[str]) -> None:
    """Our pool classes override exactly these names, so a renamed method or a new clash fails here."""
    assert overridden(ours) == expected


@needed_by(PREFORK, "worker/celery.py")
def test_the_command_lines_default_is_the_pool_of_the_settings() -> None:
    """``--pool prefork``, the default, means the class that ``worker_pool`` names."""
    context: Any = MagicMock(token_normalize_func=None)
    context.obj.app.conf.worker_pool = "worker.durable.pool:DurableTaskPool"
    assert WorkersPool().convert("prefork", None, context) is DurableTaskPool
    assert WorkersPool().convert("solo", None, context) is solo.TaskPool
    assert prefork.TaskPool.Pool is AsynPool


@needed_by(PREFORK)
def test_a_soft_time_limit_is_a_signal_that_a_child_listens_to_after_its_fork() -> None:
    """The soft time limit is SIGUSR1, whose handler a child sets in ``after_fork``."""
    assert billiard_pool.SIG_SOFT_TIMEOUT == signal.SIGUSR1
    assert "soft_timeout_sighandler" in Worker.after_fork.__code__.co_names
    assert cast(Any, DurablePool).Worker.workloop is Worker.workloop
    assert Worker.workloop.__globals__["__name__"] == "billiard.pool"

"""Celery's prefork pool, which keeps its state when the broker goes and when the worker stops.

Celery empties its event loop when the connection to the broker is lost. These survive it here:

* **A result that was read in part.** Its rest would be taken for the next one's length, and no word of that
  child would be understood any more.
* **The time limits of running commands.** One that hangs would hang for ever.
* **Which child is busy.** A command would stand behind one that hangs while other children are free.

Five more; ADR 8 has the measurements of the first and the fourth:

* At a stop no child waits 30 s for the result of a job that Celery has forgotten.
* A late soft time limit would end a child between two jobs. It interrupts jobs alone.
* A child's pipe closes a moment before the kernel has its exit code. Celery's second look is up to 5 s later:
  measured, one death in two. Ours is soon.
* A job for an idle child is written at once, not after the event loop has talked to the broker.
* A small job is one write instead of two.
"""

from __future__ import annotations

import select
import signal
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from inspect import GEN_SUSPENDED, getgeneratorstate
from time import monotonic, sleep
from types import FrameType
from typing import Any, Final

from billiard.exceptions import SoftTimeLimitExceeded
from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.concurrency.asynpool import Worker as CelerysChild
from celery.concurrency.prefork import TaskPool
from kombu.asynchronous import set_event_loop

_LONGEST_SECONDS: Final = 1.0
_POLL_MILLISECONDS: Final = 20

_SOON_SECONDS: Final = 1.0
"""Least time left to a running job after a reconnect: if it has ended, its result is read first."""

_NO_JOBS: Final = ("billiard.", "celery.concurrency.")
"""Modules that a child runs between two jobs."""

_REAP_AGAIN_SECONDS: Final = 0.02
_REAP_TRIES: Final = 100

Reading = Generator[None, None, None]


class _Child(CelerysChild):
    """A process of the pool, which a signal interrupts only inside a job."""

    def after_fork(self) -> None:
        super().after_fork()
        signal.signal(signal.SIGUSR1, interrupt_job)


def interrupt_job(_number: int, frame: FrameType | None) -> None:
    """Raise ``SoftTimeLimitExceeded`` in the running job; do nothing if none is running."""
    while frame is not None and frame.f_back is not None:
        is_called_by_loop = frame.f_back.f_code is CelerysChild.workloop.__code__
        if is_called_by_loop and not frame.f_globals["__name__"].startswith(_NO_JOBS):
            raise SoftTimeLimitExceeded
        frame = frame.f_back


class _Answers(ResultHandler):
    """Reader of the children's results."""

    fileno_to_outq: dict[int, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._latest: dict[int, tuple[Any, Reading]] = {}

    def _recv_message(self, add_reader: Any, fd: int, callback: Callable[[Any], None]) -> Reading:
        reading: Reading = super()._recv_message(add_reader, fd, callback)  # type: ignore[misc]
        self._latest[fd] = self.fileno_to_outq[fd], reading
        return reading

    def half_read(self) -> dict[int, Reading]:
        """Return the readers of results that have not arrived in full, by descriptor."""
        return {
            fd: reading
            for fd, (child, reading) in self._latest.items()
            # The descriptor may be a later child's now.
            if getgeneratorstate(reading) == GEN_SUSPENDED and self.fileno_to_outq.get(fd) is child
        }

    def _flush_outqueue(self, fd: int, remove: Any, process_index: Any, on_state_change: Any) -> Any:
        """Read on at a stop; Celery would wait for ever for the rest of a result of a child that is gone."""
        child = process_index.get(fd)
        if child is None or child.dead or child.exitcode is not None:
            return remove(fd)
        self.read_on(fd)
        sleep(_POLL_MILLISECONDS / 1000)
        return None

    def read_on(self, fd: int) -> None:
        """Read from a descriptor, as the event loop does when there is something to read."""
        reading = self.half_read().get(fd)
        if reading is None:
            self.handle_event(fd)
            return
        # The child is gone, then, and Celery will notice.
        with suppress(OSError, EOFError):
            next(reading, None)


class DurablePool(AsynPool):
    """The pool's children, and their jobs."""

    ResultHandler = _Answers
    Worker = _Child

    _hub: Any = None

    # Celery's and billiard's own, which the stubs do not know.
    outbound_buffer: deque[Any]
    on_timeout_cancel: Callable[[Any], None]
    on_timeout_set: Callable[[Any, float | None, float | None], None]
    _active_writes: set[int]
    _all_inqueues: set[int]
    _busy_workers: set[int]
    _cache: dict[int, Any]
    _fileno_to_inq: dict[int, Any]
    _fileno_to_outq: dict[int, Any]
    _pool: list[Any]
    maintain_pool: Callable[[], None]
    _result_handler: _Answers

    def register_with_event_loop(self, hub: Any) -> None:
        """Join the event loop, at the start and with each new connection to the broker."""
        self._forget_the_dead()
        running = [job for job in self._cache.values() if job._accepted and not job.ready()]
        for job in running:
            # A connection that is lost before the event loop has run leaves its timers.
            self.on_timeout_cancel(job)
        super().register_with_event_loop(hub)
        self._hub = hub
        # Emptied, it is not the process's own any more: at a stop messages that run would not be renewed.
        set_event_loop(hub)
        for fd, reading in self._result_handler.half_read().items():
            hub.add_reader(fd, reading)
        for job in running:
            self._limit_time_again(job)

    def _event_process_exit(self, hub: Any, child: Any) -> None:
        """Reap a child whose pipe has closed, as it does when the child ends. Celery's hook."""
        super()._event_process_exit(hub, child)  # type: ignore[misc]
        self._reap(hub, child, _REAP_TRIES)

    def _reap(self, hub: Any, child: Any, tries: int) -> None:
        if child not in self._pool or not tries:
            return
        if child.exitcode is None:
            hub.call_later(_REAP_AGAIN_SECONDS, self._reap, hub, child, tries - 1)
        else:
            self.maintain_pool()

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Give a job to the children; as in billiard, it waits where there is no event loop."""
        try:
            job = super().apply_async(*args, **options)
        except BaseException:
            # A job too deep or too large to be written for a child would be waited for without end.
            self._forget_last_job()
            raise
        _write_at_once(job)
        if self.outbound_buffer and self._all_inqueues:
            # Which of them are idle is looked at there.
            self._hub.consolidate_callback(list(self._all_inqueues))
        return job

    def _forget_last_job(self) -> None:
        number = max(self._cache, default=None)
        if number is not None and getattr(self._cache[number], "_payload", None) is None:
            del self._cache[number]

    def flush(self) -> None:
        """Forget, when the consumer closes, jobs that no child has begun: the broker redelivers them."""
        self._forget_the_dead()
        self._hear_out()
        super().flush()
        self._busy_workers.update(self._still_busy())

    def _on_soft_timeout(self, *args: Any) -> None:
        """Spare a job that ended while the main process waited for the broker."""
        self._hear_what_is_there()
        super()._on_soft_timeout(*args)  # type: ignore[misc]

    def _on_hard_timeout(self, *args: Any) -> None:
        """Spare a job that ended meanwhile: its process would be killed, and the command run again."""
        self._hear_what_is_there()
        super()._on_hard_timeout(*args)  # type: ignore[misc]

    def _hear_what_is_there(self) -> None:
        """Read all results that are there, also one longer than a pipe, which its child goes on writing."""
        poller = select.poll()
        for fd in self._fileno_to_outq:
            poller.register(fd, select.POLLIN)
        deadline = monotonic() + _LONGEST_SECONDS
        while monotonic() < deadline:
            wait = _POLL_MILLISECONDS if self._result_handler.half_read() else 0
            ready = [fd for fd, event in poller.poll(wait) if event & select.POLLIN]
            if not ready and not wait:
                return
            for fd in ready:
                self._result_handler.read_on(fd)

    def _forget_the_dead(self) -> None:
        """Forget dead children; Celery keeps one that died with a job, though its descriptor is reused."""
        for fd in [fd for fd, child in self._fileno_to_outq.items() if child.dead]:
            del self._fileno_to_outq[fd]

    def _limit_time_again(self, job: Any) -> None:
        elapsed = monotonic() - job._time_accepted
        soft = job._soft_timeout and job._soft_timeout - elapsed
        hard = job._timeout and max(job._timeout - elapsed, _SOON_SECONDS)
        # A job that was told of its soft limit must not be told twice.
        self.on_timeout_set(job, soft if soft and soft > 0 else None, hard)

    def _hear_out(self) -> None:
        """Listen until each job given to a child has begun and each result that has begun is read."""
        deadline = monotonic() + _LONGEST_SECONDS
        while self._is_unheard() and monotonic() < deadline:
            poller = select.poll()
            for fd in self._fileno_to_outq:
                poller.register(fd, select.POLLIN)
            for fd in self._active_writes:
                poller.register(fd, select.POLLOUT)
            for fd, _event in poller.poll(_POLL_MILLISECONDS):
                if fd in self._fileno_to_outq:
                    self._result_handler.read_on(fd)
                else:
                    self._write_on(fd)

    def _is_unheard(self) -> bool:
        is_given = any(job._write_to and not job._accepted for job in self._cache.values())
        return is_given or bool(self._result_handler.half_read())

    def _write_on(self, fd: int) -> None:
        writers = [
            job._writer() for job in self._cache.values() if job._write_to and job._write_to.inqW_fd == fd
        ]
        for writer in filter(None, writers):
            with suppress(OSError, EOFError):
                next(writer, None)

    def _still_busy(self) -> set[int]:
        return {
            child.inqW_fd
            for child in self._fileno_to_inq.values()
            if any(job._accepted and job._worker_pid == child.pid for job in self._cache.values())
        }


def _write_at_once(job: Any) -> None:
    """Let a small job be one write, which a pipe takes whole or not at all: its child wakes up once."""
    header, body, size = getattr(job, "_payload", None) or (b"", b"", 0)
    if size and len(header) + size <= select.PIPE_BUF:
        # Celery writes the first part until at least the header is gone, then so much of the second.
        job._payload = memoryview(b"".join((header, body))), body, 0


class DurableTaskPool(TaskPool):
    """Class of ``worker_pool``. Other values of ``--pool`` have no event loop to lose."""

    Pool = DurablePool

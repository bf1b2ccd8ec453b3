"""A process that has loaded what our programs load, and forks for each that `tests.support.forked` asks for.

A command spends nine tenths of its time on imports, and a worker's start two thirds. Forked from here it is a
process all the same: its own environment, folder, streams, signals, threads, ``atexit`` and exit code. Four
things differ from a start:

- its modules are loaded already, so a missing import or a circle is not seen;
- Python has read its own variables and the locale before;
- its collector spares what was loaded before, so a worker leaves its own settings of the collector out;
- after its last ``atexit`` function it is gone: to take modules apart would cost as much as most commands.

So commands are also started by themselves: tests/acceptance/test_cli_starts.py.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Final

MOST_BYTES: Final = 1 << 17
"""The longest order."""

_LOADED: Final = (
    *("celery.app.base", "celery.backends.redis", "celery.bin.celery", "kombu.transport.redis", "httpx"),
    *("psycopg.types.json", "psycopg_pool", "pydantic_settings", "redis.asyncio", "structlog"),
    *("rich.console", "rich.table", "typer._adapters", "typer.main"),
    *("worker.cli", "worker.cli.database", "worker.db.dead_letters.store", "worker.db.sessions.store"),
    *("worker.db.overview.store", "worker.db.syncs.store"),
    *("celery.apps.beat", "celery.apps.worker", "celery.worker.consumer", "celery.concurrency.prefork"),
    *("celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log", "celery.fixups.django"),
    *("celery.worker.components", "celery.worker.consumer.delayed_delivery", "kombu.pidbox", "billiard.heap"),
    *("billiard.popen_fork", "billiard.sharedctypes", "billiard.synchronize"),
    *("worker.durable.consumer", "worker.durable.pool", "worker.jira.sync", "worker.status_message.process"),
    *("worker.durable.beat", "worker.durable.heartbeat", "worker.durable.lane.inspection"),
    *("worker.durable.remote_control", "worker.durable.results", "worker.jira.unlink"),
    *("uvicorn.protocols.http.h11_impl", "handlers.app", "console.app"),
)
"""Imports of most programs of ours, without modules that read the environment or make the Celery app."""
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Order:
    """A module to run as ``python -m`` would, and its arguments, environment and folder.

    A service leads a session of its own.
    """

    module: str
    arguments: list[str]
    env: dict[str, str]
    folder: str
    is_service: bool = False

    def carry_out(self) -> None:
        """Run the program to its last line or its ``sys.exit``."""
        if self.is_service:
            os.setsid()
        os.environ.clear()
        os.environ.update(self.env)
        os.chdir(self.folder)
        time.tzset()
        # The other two do not depend on what they are connected to.
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
        sys.argv = [self.module, *self.arguments]
        with _LEAVING.noting_the_code():
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)


class Leaving:
    """The end of a process that was forked, as the very last of its ``atexit`` functions."""

    def __init__(self) -> None:
        self._code: int | None = None

    @contextmanager
    def noting_the_code(self) -> Iterator[None]:
        """Note the code with which the interpreter is about to exit."""
        try:
            yield
            self._code = 0
        except SystemExit as exc:
            self._code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
            raise
        except Exception:
            self._code = 1
            raise

    def leave(self) -> None:
        """Exit, unless this is the zygote, or a process that Ctrl-C ends."""
        if self._code is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._code)


_LEAVING: Final = Leaving()


class Zygote:
    """The loop that forks and reports. An order comes with four descriptors: its streams, and a socket.

    Each process is reported twice: at its start by a pidfd, at its end by its exit code, as in ``Popen``.
    """

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> Order | None:
        """Return the order in the process that was forked for it, and None when no more orders can come."""
        while True:
            for ready in select.select([self._orders.fileno(), *self._running], [], [])[0]:
                if ready in self._running:
                    self._report_end(ready)
                    continue
                message, descriptors, _, _ = socket.recv_fds(self._orders, MOST_BYTES, 4)
                if not message:
                    return None
                if self._is_child(descriptors):
                    return Order(**json.loads(message))

    def _is_child(self, descriptors: Sequence[int]) -> bool:
        *streams, report = descriptors
        zygote = os.getpid()
        pid = os.fork()
        if pid:
            self._report_start(pid, socket.socket(fileno=report))
        else:
            _die_with(zygote)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            self._close(report)
        for stream in streams:
            os.close(stream)
        return not pid

    def _report_start(self, pid: int, report: socket.socket) -> None:
        handle = os.pidfd_open(pid)
        self._running[handle] = (pid, report)
        socket.send_fds(report, [str(pid).encode()], [handle])

    def _report_end(self, handle: int) -> None:
        pid, report = self._running.pop(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        # Whoever asked for it may be gone.
        with report, suppress(OSError):
            report.send(str(code).encode())
        os.close(handle)

    def _close(self, report: int) -> None:
        """In the child: keep nothing open that is the zygote's."""
        self._orders.close()
        os.close(report)
        for handle, (_, other) in self._running.items():
            os.close(handle)
            other.close()


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    # They run from the last to the first.
    atexit.register(_LEAVING.leave)
    for module in _LOADED:
        import_module(module)
    # Else the first collection in each child would write to, and so copy, every page of these.
    gc.freeze()
    order = Zygote(socket.socket(fileno=int(sys.argv[1]))).serve()
    if order:
        order.carry_out()


if __name__ == "__main__":
    main()

"""Real worker processes for the tests: a whole prefork group that can be killed at once."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from tests.support.forked import ROOT as ROOT
from tests.support.services import Process, start_service
from tests.support.waiting import wait_until

DEADLY = "application/x-deadly"
"""A message that is compressed so ends the process of these workers that opens it."""


class WorkerGroup:
    """``celery -A worker worker`` as a process group of its own.

    Args:
        env: the whole environment; it names the servers.
        log_path: a worker that is started again appends.
        options: of Celery's command line, besides the test's own.
    """

    def __init__(self, env: Mapping[str, str], log_path: Path, *options: str, concurrency: int = 2) -> None:
        self._env = env
        self._log_path = log_path
        self._arguments = [
            *("-A", "worker", "worker"),
            *("--include", "tests.support.probe_tasks", "--concurrency", str(concurrency)),
            *("--hostname", f"{log_path.stem}@%h", "--without-mingle", "--without-gossip"),
            *options,
        ]
        self._child: Process | None = None
        self._ready_before = 0

    @property
    def log(self) -> str:
        """All that it has written, former lives included."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def children(self) -> list[psutil.Process]:
        """The pool's processes."""
        return psutil.Process(self.pid).children()

    def resume_children(self) -> None:
        """Let the pool's stopped processes go on; one that was killed may end meanwhile."""
        for child in self.children:
            with suppress(psutil.NoSuchProcess):
                child.resume()

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def launch(self) -> None:
        """Start it and return at once."""
        self._ready_before = self.log.count(" ready.")
        self._child = start_service(
            "celery", *self._arguments, log_path=self._log_path, env=self._env, cwd=self._log_path.parent
        )

    def wait_until_ready(self) -> None:
        """Return when what was launched consumes."""
        ready = self._ready_before
        wait_until(lambda: self.log.count(" ready.") > ready or not self.is_alive, "the worker is ready", 30)
        assert self.is_alive, self.log[-3000:]

    def start(self) -> WorkerGroup:
        """Start it and return when it consumes."""
        self.launch()
        self.wait_until_ready()
        return self

    def kill(self) -> None:
        """SIGKILL the main process and all its children at once, if it runs."""
        if self._child is not None:
            self._child.kill()

    def stop(self, number: signal.Signals = signal.SIGTERM, grace: float = 60) -> None:
        """End it by a signal, as a deploy does; SIGKILL, and a failure, when that takes too long."""
        if self._child is not None and not self._child.stop(number, grace):
            self._child.kill()
            raise AssertionError(f"the worker did not stop within {grace:g} s:\n{self.log[-3000:]}")

    def __enter__(self) -> WorkerGroup:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

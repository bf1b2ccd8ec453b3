"""A service of the supervisor: a command line of ours, or an embedded server."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals

from worker.local.child import Child, describe_exit
from worker.local.failure import LocalServiceFailed
from worker.operate.private_folder import write_private

_POLL_SECONDS = 0.05


class Service(ABC):
    """A process, one child at a time, that can be started again after it died."""

    name: str
    log_path: Path
    _child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process's id; None when it is not running."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def poll(self) -> int | None:
        """Return the exit code of an ended process; None while it runs or was never started."""
        return self._child.poll() if self._child else None

    def log_tail(self) -> str:
        """Return the last lines of the latest run's log."""
        return self._child.log_tail() if self._child else ""

    @abstractmethod
    def start(self, cancelled: Callable[[], bool] = ...) -> None:
        """Start the service, and return when it is ready. Raises ``LocalServiceFailed`` after ending it."""

    @abstractmethod
    def stop(self, hurried: Callable[[], bool] = ...) -> None:
        """End the service in good order, or by SIGKILL when that takes too long; return once it has ended."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL the service and its children."""


class CommandService(Service):
    """A command line in a process group of its own.

    Args:
        env: the whole environment, not an addition to ours.
        cwd: Python's ``-m`` puts it first on the import path, so choose one that holds no modules.
        ready: asked, with the seconds since the start, until it says yes. Without one a process that was
            started is ready.
        grace: seconds between the stop signal and SIGKILL for the whole group.
        pid_file: where the process's id is noted at each start.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[float], bool] | None = None,
        stop_signal: Signals = SIGTERM,
        grace: float = 10,
        start_timeout: float = 60,
        pid_file: Path | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._argv = argv
        self._env = env
        self._cwd = cwd
        self._ready = ready or _at_once
        self._stop_signal = stop_signal
        self._grace = grace
        self._start_timeout = start_timeout
        self._pid_file = pid_file

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        if self.pid:
            return
        child = self._child = Child(
            self._argv, log_path=self.log_path, env=self._env, cwd=self._cwd, death_signal=self._stop_signal
        )
        if self._pid_file:
            write_private(self._pid_file, f"{child.pid}\n")
        fault = self._wait_until_ready(child, cancelled)
        if fault:
            child.kill()
            raise LocalServiceFailed(
                f"{self.name} did not start ({fault}); {self.log_path} ends with:\n{child.log_tail()}"
            )

    def run(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Start the command and wait for its end. Raises ``LocalServiceFailed`` unless its exit code is 0."""
        self.start(cancelled)
        while (code := self.poll()) is None:
            if cancelled():
                self.stop()
            time.sleep(_POLL_SECONDS)
        if code != 0:
            raise LocalServiceFailed(f"{self.name} failed ({describe_exit(code)}):\n{self.log_tail()}")

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        if self._child and not self._child.stop(self._stop_signal, self._grace, hurried):
            self._child.kill()

    def kill(self) -> None:
        if self._child:
            self._child.kill()

    def _wait_until_ready(self, child: Child, cancelled: Callable[[], bool]) -> str | None:
        started = time.monotonic()
        while not self._ready(time.monotonic() - started):
            if cancelled():
                return "cancelled"
            if time.monotonic() - started > self._start_timeout:
                return f"not ready within {self._start_timeout:g} s"
            if (code := child.poll()) is not None:
                return describe_exit(code)
            time.sleep(_POLL_SECONDS)
        if self._ready is _at_once:
            return None
        # Another process may have answered on the same port.
        return None if (code := child.poll()) is None else describe_exit(code)


def _at_once(_seconds: float) -> bool:
    return True

"""A server of ours with one directory, one port, one child process: the base of Postgres and Valkey."""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from worker.local.child import Child, describe_exit
from worker.local.data_dir import DataDir
from worker.local.failure import LocalServiceFailed
from worker.local.servers import orphan, port
from worker.local.service import Service
from worker.operate.private_folder import write_private
from worker.operate.rights.environment import environment_of_a_server

_POLL_SECONDS = 0.02
_TRIES = 20


class EmbeddedServer(Service):
    """One server on one data directory, on 127.0.0.1 only, with a password of its own.

    Args:
        data_dir: made when missing; keeps the data, the password, the last port and the log.
        port: preferred, before the one of last time; a taken one is replaced by a free one.
        settings: the server's own settings, over the defaults here.
        log_path: where its output goes, ``server.log`` in the directory if not given.
        start_timeout: seconds; recovery after a crash takes its time.

    May be started again after ``stop``, ``kill`` or a death of its own, and keeps its URL then.
    """

    program: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    defaults: ClassVar[Mapping[str, str]]
    passing_faults: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        start_timeout: float = 60,
    ) -> None:
        self._dir = DataDir(data_dir)
        self._data = self._dir.path / "data"
        self._preferred_port = port
        self._port: int | None = None
        self._settings = {**self.defaults, **(settings or {})}
        self._start_timeout = start_timeout
        self.log_path = log_path or self._dir.path / "server.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """URL for clients, password included."""

    @property
    def port(self) -> int:
        """The server's port, known from the first ``start`` on."""
        if self._port is None:
            raise LocalServiceFailed(f"{self.name} was not started yet")
        return self._port

    @property
    def password(self) -> str:
        return self._dir.secret("password")

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Start the server, unless it runs, and return when it answers.

        Raises ``LocalServiceFailed`` with the last lines of the log, or ``DataDirInUse``.
        """
        if self.pid:
            return
        self._dir.acquire()
        try:
            # We hold the lock, so what still runs here has lost its parent.
            orphan.stop_all(self.program, self._data, self.stop_signal, grace=10)
            self._prepare()
            self._launch(cancelled)
        except BaseException:
            self.stop()
            raise

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """End the server in good order, by SIGKILL after 15 s or when ``hurried``; release the directory."""
        if self._child and not self._child.stop(self.stop_signal, grace=15, hurried=hurried):
            self.kill()
        self._dir.release()

    def kill(self) -> None:
        """SIGKILL the server and all its processes, as a crash would. ``start`` recovers it."""
        if self._child:
            orphan.kill_all(self.program, self._data)
            self._child.kill()

    @abstractmethod
    def _prepare(self) -> None:
        """Make the files that the server needs before it starts."""

    @abstractmethod
    def _spawn(self) -> Child:
        """Start the program on ``self.port``."""

    @abstractmethod
    def _answers(self, child: Child) -> bool:
        """Return True if this very child is ready for work: another server may have got the port."""

    def _launch(self, cancelled: Callable[[], bool]) -> None:
        known, note = self._port, self._dir.path / "port"
        for _ in range(_TRIES):
            self._port = known or port.free_port(self._preferred_port, port.read_port(note))
            self._child = self._spawn()
            fault = self._wait_until_ready(self._child, cancelled)
            if fault is None:
                write_private(note, f"{self._port}\n")
                return
            tail = self.log_tail()
            if cancelled() or not self._worth_another_try(tail, port_is_fixed=known is not None):
                break
        self._port = known
        raise LocalServiceFailed(f"{self.name} did not start ({fault}); {self.log_path} ends with:\n{tail}")

    def _wait_until_ready(self, child: Child, cancelled: Callable[[], bool]) -> str | None:
        """Wait until the server is ready, and return None; else return the fault, with the server ended."""
        deadline = time.monotonic() + self._start_timeout
        while (code := child.poll()) is None:
            if self._answers(child):
                return None
            if cancelled() or time.monotonic() > deadline:
                self.kill()
                return "cancelled" if cancelled() else f"no answer within {self._start_timeout:g} s"
            time.sleep(_POLL_SECONDS)
        return describe_exit(code)

    def _worth_another_try(self, tail: str, *, port_is_fixed: bool) -> bool:
        if "Address already in use" in tail:
            # Taken between looking and listening. Clients that know the old port need that one.
            return not port_is_fixed
        if any(fault in tail for fault in self.passing_faults):
            time.sleep(0.25)
            return True
        return False


def wheel_path(package: str, needed_unless: str) -> Path:
    """Return the folder of an installed package, without importing it: these packages act on import."""
    spec = find_spec(package)
    if spec is None or not spec.origin:
        raise LocalServiceFailed(
            f"{package} is not installed: pip install 'threadsync[local]', or set {needed_unless}"
        )
    return Path(spec.origin).parent


def server_environment() -> dict[str, str]:
    """Return the environment for a server: no secret, no foreign locale, no ``PG…`` variable."""
    return environment_of_a_server(os.environ) | {"LC_ALL": "C"}

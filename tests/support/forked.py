"""Programs of ours, each forked from a process that has its modules loaded: `tests.support.zygote`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Final

from tests.support.zygote import MOST_BYTES, Order

ROOT: Final = Path(__file__).parents[2]
_ALREADY_READ: Final = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
"""How variables begin that Python or the C library reads before any module of ours is loaded."""


class Forked:
    """A running process, as far as tests use ``subprocess.Popen``. It is killed at the end of a ``with``."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        pid, (self._handle,), _, _ = socket.recv_fds(report, 64, 1)
        self.pid = int(pid)
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal. Raises ``TimeoutError``."""
        if self.returncode is None:
            self._report.settimeout(timeout)
            self.returncode = int(self._report.recv(64))
            self._report.close()
            os.close(self._handle)
        return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.wait()


def start(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    stdin: IO[bytes] | None = None,
    folder: Path | None = None,
    is_service: bool = False,
) -> Forked:
    """Start ``python -m module`` with exactly this environment, in this process's folder by default."""
    assert not read_before(env), f"read at the start of Python, so start one: {read_before(env)}"
    order = Order(module, list(arguments), dict(env), str(folder or Path.cwd()), is_service)
    message = json.dumps(asdict(order)).encode()
    assert len(message) <= MOST_BYTES
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, Path(os.devnull).open("rb") as nothing:
        streams = [(stdin or nothing).fileno(), stdout.fileno(), stderr.fileno()]
        socket.send_fds(_zygote(), [message], [*streams, theirs.fileno()])
    return Forked(ours)


def run(
    module: str, *arguments: str, env: Mapping[str, str], timeout: float = 100, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; what it wrote keeps its ends of lines."""
    with TemporaryFile() as out, TemporaryFile() as err:
        with start(module, *arguments, env=env, stdout=out, stderr=err, folder=folder) as process:
            code = process.wait(timeout)
        return subprocess.CompletedProcess([module, *arguments], code, _content(out), _content(err))


def read_before(env: Mapping[str, str]) -> set[str]:
    """Return the variables that were set for this process and that would have no effect on a fork."""
    return {
        name
        for name, value in env.items()
        if name.startswith(_ALREADY_READ) and value != os.environ.get(name)
    } - {"PYTHONPATH"}


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _zygote() -> socket.socket:
    """Start it for the rest of this process. When the socket is closed it ends, and all that it forked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith(_ALREADY_READ)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours

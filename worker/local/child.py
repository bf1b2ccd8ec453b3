"""One child process in a session of its own, with its output in a file; it leaves no process behind."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import BinaryIO

_POLL_SECONDS = 0.02
_LOG_BYTES = 10_000_000

# The kernel sends the death signal when the *thread* that forked ends, not the process. So one thread, which
# lives as long as we do, starts every child; a server started in a short-lived thread would go with it.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn-child")


class Child:
    """A running process. Every method may be called from any thread, and again after the process ended.

    Args:
        argv: the command line; never put a secret in it.
        log_path: stdout and stderr are appended here.
        death_signal: what the kernel sends it when we die without a chance to stop it (Linux); not in its
            first few milliseconds, before ``setpriv`` has asked for it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        death_signal: Signals = SIGTERM,
        prefix: Sequence[str] = (),
    ) -> None:
        self._lock = threading.Lock()
        self._log_path = log_path
        command = [*prefix, *_with_death_signal(death_signal), *argv]
        with _open_log(log_path) as log:
            self._log_start = log.tell()
            self._process = _spawner.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            ).result()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs. At its end kill its group too."""
        with self._lock:
            if self._process.returncode is None and self._has_exited():
                # Before the pid is reaped: afterwards the group's number could be another's.
                self._signal_group(SIGKILL)
                self._process.wait()
            return self._process.returncode

    def signal(self, number: Signals) -> None:
        """Signal the process itself, not its children: Celery and Postgres stop theirs in good order."""
        with self._lock:
            if self._process.returncode is None:
                self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the whole process group, and wait until the process is gone."""
        with self._lock:
            if self._process.returncode is None:
                self._signal_group(SIGKILL)
                self._process.wait()

    def stop(self, number: Signals, grace: float, hurried: Callable[[], bool] = lambda: False) -> bool:
        """Signal the process; return True if it ended within ``grace`` seconds and before ``hurried``."""
        self.signal(number)
        deadline = time.monotonic() + grace
        while self.poll() is None:
            if hurried() or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines that this run wrote."""
        with self._log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - 16_384))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _has_exited(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal_group(self, number: Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            # Some members changed their user; the leader at least is ours.
            self._process.send_signal(number)


def describe_exit(code: int) -> str:
    """Describe an exit code, such as ``exit code 3`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _open_log(path: Path) -> BinaryIO:
    """Open a log to append, so that the reason of the last death stays; move a long log to ``.1``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _with_death_signal(number: Signals) -> list[str]:
    """Return a command prefix, because ``preexec_fn`` may deadlock in a process with threads.

    It stands behind ``unshare``: a new user namespace clears the death signal.
    """
    setpriv = _working_setpriv()
    return [setpriv, "--pdeathsig", number.name, "--"] if setpriv else []


@functools.cache
def _working_setpriv() -> str | None:
    setpriv = shutil.which("setpriv")
    # BusyBox has a setpriv without --pdeathsig.
    return setpriv if setpriv and succeeds([setpriv, "--pdeathsig", "SIGTERM", "--", "true"]) else None


def succeeds(command: Sequence[str]) -> bool:
    """Return True if the command succeeds here, to probe what this machine allows."""
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

"""Our long-running programs: workers, beat, the web process, the exporter, Flower."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Protocol

from tests.support.forked import ROOT, Forked, read_before, start
from tests.support.scale import WHOLE
from worker.local.child import Child


class Process(Protocol):
    """A running program, as ``Child`` and ``ForkedChild`` have it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def signal(self, number: Signals) -> None: ...
    def kill(self) -> None: ...
    def stop(self, number: Signals, grace: float) -> bool: ...


def start_service(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    log_path: Path,
    cwd: Path,
    prefix: Sequence[str] = (),
) -> Process:
    """Start ``python -m module`` in a session of its own, with its output in a file.

    It is forked, but not under ``make test-all``, behind a prefix, or with variables for the interpreter.
    """
    env = {**env, "PYTHONPATH": str(ROOT)}
    if prefix or WHOLE or read_before(env):
        argv = [sys.executable, "-m", module, *arguments]
        return Child(argv, log_path=log_path, env=env, cwd=cwd, prefix=prefix)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = start(module, *arguments, env=env, stdout=log, stderr=log, folder=cwd, is_service=True)
    return ForkedChild(process)


class ForkedChild:
    """A forked program with the methods of ``Child``, which leaves no process of its group behind either."""

    def __init__(self, process: Forked) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs. At its end kill its group too."""
        self._ends_within(0)
        return self._process.returncode

    def signal(self, number: Signals) -> None:
        """Signal the process itself, not its children."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the whole process group, and wait until the process is gone."""
        if self.poll() is None:
            self._kill_group()
            # It may not have made its group yet.
            self._process.kill()
            self._process.wait()

    def stop(self, number: Signals, grace: float) -> bool:
        """Signal the process; return True if it ended within ``grace`` seconds."""
        self.signal(number)
        return self._ends_within(grace)

    def _ends_within(self, seconds: float) -> bool:
        if self._process.returncode is None:
            with suppress(TimeoutError, BlockingIOError):
                self._process.wait(seconds)
                self._kill_group()
        return self._process.returncode is not None

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, SIGKILL)

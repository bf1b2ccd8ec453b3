"""Kill a worker, where a supervisor tells its process: ``threadsync up`` notes it in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final, Protocol

LABELS: Final[Mapping[str, str]] = {
    "worker": "Worker of commands",
    "syncs": "Worker that makes tickets",
}
PAUSE_SECONDS: Final = 20.0
"""Least time between two kills of one worker: ``up`` gives up a service that dies five times in a minute."""


class Workers(Protocol):
    """The workers that may be killed."""

    def pids(self) -> Mapping[str, int | None]:
        """Return the process of each by name; None while it is not running."""

    def kill(self, name: str) -> str:
        """Kill the worker with its children, and return a sentence for people."""


class NoWorkers:
    """Stand-in where no supervisor tells of its workers."""

    def pids(self) -> Mapping[str, int | None]:
        return {}

    def kill(self, name: str) -> str:
        return "There is no worker that this page may kill."


class KillableWorkers:
    """Workers by their processes, each the leader of a group with its children.

    Args:
        pid_of: returns the process of a worker; None while it is not running.
    """

    def __init__(
        self, pid_of: Callable[[str], int | None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pid_of = pid_of
        self._monotonic = monotonic
        self._killed_at: dict[str, float] = {}

    def pids(self) -> Mapping[str, int | None]:
        return {name: self._pid_of(name) for name in LABELS}

    def kill(self, name: str) -> str:
        if name not in LABELS:
            return "There is no worker that this page may kill."
        wait = self._killed_at.get(name, -PAUSE_SECONDS) + PAUSE_SECONDS - self._monotonic()
        if wait > 0:
            return f"It was killed a moment ago. Please wait {int(wait) + 1} s."
        pid = self._pid_of(name)
        if pid is None:
            return "It is not running just now; it is started again by itself."
        try:
            os.killpg(pid, SIGKILL)
        except ProcessLookupError:
            return "It has ended by itself meanwhile."
        self._killed_at[name] = self._monotonic()
        return f"Killed process {pid} and its children with SIGKILL. It is started again by itself."


def pid_noted(folder: Path, parent: int, name: str) -> int | None:
    """Return the process that ``threadsync up`` noted in ``NAME.pid``; None if it is not running.

    A note may be older than its process, and the number another's by now: so the process must be a child of
    ``parent``, which is that ``up``, and the leader of its group.
    """
    try:
        pid = int((folder / f"{name}.pid").read_text(encoding="ascii"))
        # The fields after the command's name, which may have spaces: proc(5).
        state, of, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return pid if state != "Z" and int(of) == parent and int(group) == pid else None


def workers_json(workers: Workers) -> list[dict[str, Any]]:
    """Show the workers on the page."""
    return [{"name": name, "label": LABELS[name], "pid": pid} for name, pid in workers.pids().items()]

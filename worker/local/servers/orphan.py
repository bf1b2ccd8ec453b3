"""End server processes that outlived their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_PROC = Path("/proc")


def processes_of(program: str, folder: Path) -> list[int]:
    """Return pids of running ``program`` processes that work in ``folder``, children after their parents.

    Found by working directory or command line, so neither a pid file that a crash left behind nor a pid that
    now belongs to another process can mislead us. Empty where there is no ``/proc``.
    """
    parents = {pid: parent for pid, name, parent in _running() if name == program[:15]}
    mine = {pid for pid in parents if _works_in(pid, folder)}
    children = {pid for pid, parent in parents.items() if parent in mine}
    return sorted(mine | children, key=lambda pid: (parents[pid] in mine, pid))


def stop_all(program: str, folder: Path, number: signal.Signals, grace: float) -> None:
    """Signal the first process of each family, wait until all are gone, and SIGKILL what is left."""
    family = processes_of(program, folder)
    for pid in family:
        if _parent_of(pid) not in family:
            _send(pid, number)
    if not _all_gone(program, folder, family, grace):
        kill_all(program, folder)


def kill_all(program: str, folder: Path) -> None:
    """SIGKILL the processes, parents first so that none is replaced, and wait until they are gone."""
    family = processes_of(program, folder)
    for pid in family:
        _send(pid, signal.SIGKILL)
    _all_gone(program, folder, family, 10)


def _all_gone(program: str, folder: Path, family: list[int], timeout: float) -> bool:
    """Wait until none is found, and ``family`` has ended: an ending process works in no folder."""
    deadline = time.monotonic() + timeout
    while processes_of(program, folder) or _still_run(program, family):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _still_run(program: str, pids: list[int]) -> bool:
    return any(pid in pids and name == program[:15] for pid, name, _ in _running())


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _parent_of(pid: int) -> int | None:
    return next((parent for other, _, parent in _running() if other == pid), None)


def _running() -> list[tuple[int, str, int]]:
    """Return (pid, program name, parent's pid) of every process that is not a zombie."""
    found = []
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(errors="replace")
            name = stat[stat.index("(") + 1 : stat.rindex(")")]
            state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
            if state not in "ZX":
                found.append((int(entry.name), name, int(parent)))
    return found


def _works_in(pid: int, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        # Not readable when the server has another user; its command line is.
        if (_PROC / str(pid) / "cwd").readlink() == folder.resolve():
            return True
    with contextlib.suppress(OSError):
        return os.fsencode(folder) in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    return False

"""Description of the measuring machine, read at run time, without its name."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import process_tree

_PROC: Final = Path("/proc")


def describe(folder: Path) -> dict[str, Any]:
    """Describe the machine for the record; ``folder`` holds the servers' data."""
    memory = _field(_PROC / "meminfo", "MemTotal").split()[0]
    return {
        "cores": os.cpu_count(),
        "processor": _field(_PROC / "cpuinfo", "model name"),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "file_system": _file_system(folder),
        "fsync_ms": round(fsync_seconds(folder) * 1000, 3),
        "load_before": round(os.getloadavg()[0], 2),
    }


class Neighbours:
    """Other users of the machine's time, from the object's creation on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._seconds()

    def share(self) -> float:
        """Return the share of CPU time that other processes used, or the machine's host took away."""
        seconds = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return round(max((self._seconds() - self._before) / seconds, 0), 3)

    def _seconds(self) -> float:
        return _busy_seconds() - process_tree.cpu_seconds(os.getpid())


def _busy_seconds() -> float:
    user, nice, system, _, _, irq, soft_irq, steal = map(int, _cpu_line()[:8])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def commit() -> str:
    """Return the checkout's commit, marked if files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def fsync_seconds(folder: Path, times: int = 50) -> float:
    """Return the median time for a small write to reach the disk."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _cpu_line() -> list[str]:
    return (_PROC / "stat").read_text().partition("\n")[0].split()[1:]


def _field(file: Path, name: str) -> str:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 unknown"


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds the folder."""
    mounts = [line.split() for line in (_PROC / "mounts").read_text().splitlines()]
    above = [(mount[1], mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[0]))[1]

"""CPU time and memory of processes with all their descendants, from /proc.

Standard library only: this runs in each contender's own environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    parent: int
    ticks: int


def cpu_seconds(*roots: int) -> float:
    """Return user and system time so far, with that of descendants which ended and were waited for."""
    return cpu_of({"": roots})[""]


def cpu_of(families: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the same for several families, all seen in one look."""
    processes = _processes()
    return {
        name: sum(processes[pid].ticks for pid in _family(processes, roots)) / _TICKS
        for name, roots in families.items()
    }


def memory(*roots: int) -> list[int]:
    """Return the bytes of each process: its own, and its part of shared memory (PSS)."""
    sizes = []
    for pid in sorted(_family(_processes(), roots)):
        with contextlib.suppress(OSError):
            rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
            kilobytes = next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]
            sizes.append(int(kilobytes) * 1024)
    return sizes


def _family(processes: dict[int, _Process], roots: Iterable[int]) -> set[int]:
    family = {pid for pid in roots if pid in processes}
    generation = family
    while generation := {pid for pid, process in processes.items() if process.parent in generation}:
        family |= generation
    return family


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text()
            # The program's name may hold spaces and parentheses. Fields: proc_pid_stat(5).
            fields = stat[stat.rindex(")") + 2 :].split()
            found[int(entry.name)] = _Process(int(fields[1]), sum(map(int, fields[11:15])))
    return found

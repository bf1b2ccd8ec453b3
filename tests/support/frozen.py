"""Peers that stand still: SIGSTOP, as a virtual machine that is moved, or a disk that does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.support.waiting import let_pass
from tests.support.workers import ROOT

FROZEN_SECONDS = 25.0
"""Longer than each time-out of ours, and than the time after which a message is overdue."""


def family(pid: int | None) -> list[int]:
    """The process and all that it has started."""
    assert pid is not None
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    """Nothing of these processes moves inside the block. Their kernels still take connections and bytes."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def freeze(*pids: int, seconds: float = FROZEN_SECONDS) -> None:
    """Let them stand still for so long."""
    with standing_still(*pids):
        let_pass(seconds)


@contextmanager
def relay_to(port: int) -> Iterator[tuple[int, int]]:
    """A process of its own that passes everything on to the port: its port, and its pid, to be frozen."""
    argv = [sys.executable, "-m", "tests.support.passing_on", str(port)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()

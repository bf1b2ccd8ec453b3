"""The clock of a client's deadline, which does not count time in which our threads could not run."""

from __future__ import annotations

import os
import time

import pytest

from tests.support.waiting import wait_until
from threadsync.broker.running_time import TICK_SECONDS, RunningTime, counted


@pytest.mark.parametrize(
    ("passed", "at_least", "at_most"),
    [
        (TICK_SECONDS, TICK_SECONDS, TICK_SECONDS),
        # All of the time counts if the interpreter was busy with one other thread.
        (0.012, 0.012, 0.012),
        # Little counts if many threads or other processes were running.
        (0.05, 0.004, 0.005),
        # Nothing counts if the whole process stood still.
        (25.0, 0.0, 0.0001),
    ],
)
def test_a_late_tick_counts_less_the_later_it_is(passed: float, at_least: float, at_most: float) -> None:
    assert at_least <= counted(passed) <= at_most


def test_it_never_runs_faster_than_time() -> None:
    clock = RunningTime()
    began, first = time.monotonic(), clock.now()
    wait_until(lambda: clock.now() - first > 0.1, "it goes on")
    assert clock.now() - first <= time.monotonic() - began


def test_it_goes_on_after_a_fork() -> None:
    """The clock goes on after a fork, although its thread and a held lock stay in the parent."""
    clock = RunningTime()
    clock.now()
    with clock._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                first = clock.now()
                wait_until(lambda: clock.now() > first, "it goes on")
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

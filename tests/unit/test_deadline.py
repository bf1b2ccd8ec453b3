"""The deadline of a call: a second of the broker's silence, and never as long as Slack waits."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from threadsync.broker.deadline import (
    GRACE_SECONDS,
    LONGEST_SILENCE_SECONDS,
    SILENCE_SECONDS,
    Call,
    LastReply,
    Silence,
    now,
)
from threadsync.errors import EnqueueFailed


class Clocks:
    """A pair of clocks; that of running time stands until it is asked, as the real one does."""

    def __init__(self) -> None:
        self.is_asked = False
        self.running = 100.0
        self.wall = 5_000.0

    def last(self) -> float:
        return self.running

    def now(self) -> float:
        self.is_asked = True
        return self.running

    def pass_by(self, wall: float, running: float) -> None:
        self.wall += wall
        if self.is_asked:
            self.running += running


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("threadsync.broker.deadline.RUNNING", clocks)
    monkeypatch.setattr("threadsync.broker.deadline.monotonic", lambda: clocks.wall)
    return clocks


def wait_for(call: Call[None], clocks: Clocks, share: float) -> None:
    """Wait for a reply that does not come, in a process that runs for this share of the time."""
    while True:
        seconds = call.patience()
        clocks.pass_by(seconds, seconds * share)


def test_a_silent_broker_is_told_within_a_second(clocks: Clocks) -> None:
    call: Call[None] = Call(LastReply())
    with pytest.raises(EnqueueFailed, match=r"within 0\.9 s"):
        wait_for(call, clocks, share=1)
    assert clocks.wall - call.made.wall == pytest.approx(SILENCE_SECONDS, abs=0.02)
    assert call.is_given_up
    assert call.future.cancelled()


@pytest.mark.parametrize("share", [0.1, 0.01, 0.0])
def test_a_starved_process_tells_it_within_the_bound_on_the_wall(clocks: Clocks, share: float) -> None:
    call: Call[None] = Call(LastReply())
    with pytest.raises(EnqueueFailed, match="could hardly run"):
        wait_for(call, clocks, share)
    within = clocks.wall - call.made.wall
    assert within == pytest.approx(LONGEST_SILENCE_SECONDS + GRACE_SECONDS, abs=0.02)


def test_the_bound_leaves_the_handler_some_of_slacks_three_seconds() -> None:
    assert SILENCE_SECONDS < 1
    assert LONGEST_SILENCE_SECONDS + GRACE_SECONDS <= 2.5


def test_a_process_that_stood_still_looks_once_more(clocks: Clocks) -> None:
    """A process that stood still for a minute looks once more, because the reply may lie in the socket."""
    call: Call[None] = Call(LastReply())
    call.patience()
    clocks.pass_by(wall=60, running=0.01)
    assert call.patience() == GRACE_SECONDS
    call.reply.at = now()
    clocks.pass_by(GRACE_SECONDS, GRACE_SECONDS)
    assert 0 < call.patience() <= SILENCE_SECONDS


def test_standing_still_twice_is_forgiven_twice(clocks: Clocks) -> None:
    call: Call[None] = Call(LastReply())
    for _ in range(2):
        clocks.pass_by(wall=60, running=0.01)
        assert call.patience() == GRACE_SECONDS
        call.reply.at = now()
        clocks.pass_by(wall=0.01, running=0.01)
        call.patience()


def test_while_others_are_answered_a_call_waits_for_a_thread(clocks: Clocks) -> None:
    """A call waits ten seconds for a free thread while others get replies, then fails."""
    call: Call[None] = Call(LastReply())

    def wait_beside_others() -> None:
        while True:
            call.reply.at = now()
            seconds = call.patience()
            clocks.pass_by(seconds, seconds)

    with pytest.raises(EnqueueFailed, match="no thread was free"):
        wait_beside_others()
    assert clocks.wall - call.made.wall == pytest.approx(10, abs=0.05)


def wait_for_reply(silence: Silence, clocks: Clocks, share: float) -> None:
    """Wait for a reply that does not come, in a process that runs for this share of the time."""
    while True:
        seconds = silence.left()
        clocks.pass_by(seconds, seconds * share)


@pytest.mark.parametrize(("share", "seconds"), [(1, 0.3), (0.1, 2.1)])
def test_a_silent_connection_is_given_up(clocks: Clocks, share: float, seconds: float) -> None:
    """A connection is given up after its time of silence, in which the process could run; a reply ends it."""
    silence = Silence(0.3)
    clocks.pass_by(0.2, 0.2)
    silence.left()
    silence.end()
    began = clocks.wall
    with pytest.raises(redis.TimeoutError, match=r"within 0\.3 s"):
        wait_for_reply(silence, clocks, share)
    assert clocks.wall - began == pytest.approx(seconds, abs=0.06)


@contextmanager
def interpreter_held() -> Iterator[None]:
    """Keep the interpreter for 300 ms at a time, as an extension in C would."""
    usleep = ctypes.PyDLL(None).usleep
    is_over = threading.Event()

    def hold() -> None:
        while not is_over.wait(0.001):
            usleep(300_000)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def wait_in_vain(call: Call[None]) -> None:
    while True:
        threading.Event().wait(call.patience())


def test_a_held_interpreter_does_not_make_a_caller_wait_for_ever() -> None:
    """A caller fails within seconds where the interpreter is held, although running time hardly counts."""
    call: Call[None] = Call(LastReply())
    with interpreter_held(), pytest.raises(EnqueueFailed, match="could hardly run"):
        wait_in_vain(call)
    assert time.monotonic() - call.made.wall < 10

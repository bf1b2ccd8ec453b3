"""Real processes of the pool, most of whose main processes lose the broker in the middle of something."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from tests.support.installation import Installation
from tests.support.scale import bounded_time_limits
from tests.support.waiting import wait_until
from threadsync import SessionClient
from worker.durable.pool import DurablePool
from worker.durable.request import error_in
from worker.local.servers.valkey import EmbeddedValkey

MORE_THAN_A_PIPE_HOLDS = 5_000_000


def hang() -> None:
    while True:
        threading.Event().wait(60)


def hang_until_told(soft_limits: int) -> int:
    """Hang, and ignore the given number of soft time limits."""
    heard = 0
    while heard < soft_limits:
        with suppress(SoftTimeLimitExceeded):
            hang()
        heard += 1
    return heard


def end_slowly(pipe: int) -> None:
    """Close the pipe that reports this process's end, and end later, as happens on a busy machine."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if os.fstat(int(entry.name)).st_ino == pipe:
                os.close(int(entry.name))
    threading.Event().wait(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


class Main:
    """A worker's main process, reduced to its pool and its event loop."""

    def __init__(self, children: int) -> None:
        self.hub: Any = Hub()
        # The options that Celery's worker/components.py sets.
        options: Any = {"threads": False, "enable_timeouts": True, "synack": False, "sched_strategy": "fair"}
        self.pool: Any = DurablePool(children, **options)
        self.pool.register_with_event_loop(self.hub)

    def apply(self, function: Callable[..., Any], *args: Any, **limits: float) -> Any:
        return self.pool.apply_async(function, args, **limits)

    def run_until(self, predicate: Callable[[], object], description: str, timeout: float = 10) -> None:
        """Turn the event loop until ``predicate`` is true; each turn waits for its next event, or 10 ms."""
        deadline = time.monotonic() + timeout
        while True:
            self.hub.call_later(0.01, lambda: None)
            self.hub.run_once()
            if predicate():
                return
            assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {description}"

    def value_of(self, job: Any) -> Any:
        self.run_until(job.ready, "the job has ended")
        return job.get()

    def error_of(self, job: Any) -> BaseException:
        self.run_until(job.ready, "the job has ended")
        assert not job.successful()
        return error_in(job._value)

    def lose_the_broker(self) -> None:
        """Do what Celery's event loop and consumer do when the broker is lost, in the same order."""
        self.hub.reset()
        self.hub.timer.clear()
        self.pool.flush()

    def find_the_broker(self) -> None:
        self.pool.register_with_event_loop(self.hub)

    def close(self) -> None:
        for child in self.pool._pool:
            # SIGKILL works whatever state a failed test has left the process in.
            os.kill(child.pid, signal.SIGKILL)
        self.pool.terminate()
        self.pool.join()
        self.hub.close()
        set_event_loop(None)


@pytest.fixture
def main() -> Iterator[Main]:
    """Start a pool of one process."""
    main = Main(children=1)
    yield main
    main.close()


@pytest.fixture
def main_of_two() -> Iterator[Main]:
    """Start a pool of two processes."""
    main = Main(children=2)
    yield main
    main.close()


def child_of(job: Any) -> psutil.Process:
    return psutil.Process(job.worker_pids()[0])


def unread(pipe: Any) -> int:
    """Return the number of unread bytes in the pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def pipe_of_answers(main: Main) -> Any:
    (pipe,) = [child.outq._reader for child in main.pool._pool]
    return pipe


def test_a_death_is_noticed_when_its_pipe_closes_before_it_has_ended(main: Main) -> None:
    """A process whose pipe closes before its end is known to be lost within 4 s."""
    (child,) = main.pool._pool
    job = main.apply(end_slowly, os.fstat(child._popen.sentinel).st_ino)
    main.run_until(job.ready, "the job is known to be lost", timeout=4)
    assert isinstance(main.error_of(job), WorkerLostError)


def read_in_part(main: Main) -> tuple[Any, psutil.Process]:
    """Return a job whose result has been read in part, and its stopped process."""
    job = main.apply(bytes, MORE_THAN_A_PIPE_HOLDS)
    answers = pipe_of_answers(main)
    main.run_until(job.accepted, "it has begun")
    if not main.pool._result_handler.half_read():
        wait_until(lambda: unread(answers) > 4096, "it has filled the pipe")
    child = child_of(job)
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED, "it has stopped")
    main.run_until(lambda: unread(answers) == 0, "what is there is read")
    assert main.pool._result_handler.half_read()
    assert not job.ready()
    return job, child


def test_an_answer_that_was_read_in_part_is_read_to_its_end(main: Main) -> None:
    """A result that was read in part is read to its end after the broker returned, and so is the next one."""
    job, child = read_in_part(main)
    main.lose_the_broker()
    main.find_the_broker()
    child.resume()
    assert main.value_of(job) == bytes(MORE_THAN_A_PIPE_HOLDS)
    assert main.value_of(main.apply(len, "next")) == 4


def test_the_rest_of_an_answer_is_heard_before_anything_is_forgotten(main: Main) -> None:
    """The rest of a result is read before the pool forgets the job."""
    job, child = read_in_part(main)
    child.resume()
    main.lose_the_broker()
    assert job.ready()
    main.find_the_broker()
    assert main.value_of(main.apply(len, "next")) == 4


def test_a_child_that_dies_in_the_middle_of_an_answer_takes_no_other_along(main: Main) -> None:
    """A process that dies in the middle of a result loses its own job only."""
    job, child = read_in_part(main)
    child.resume()
    wait_until(lambda: unread(pipe_of_answers(main)) > 4096, "it has filled the pipe again")
    child.kill()
    # The process's end may be noticed before its result.
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE, "it is dead")
    main.pool.maintain_pool()
    assert isinstance(main.error_of(job), WorkerLostError)
    assert main.value_of(main.apply(len, "next")) == 4


def test_of_a_child_that_died_meanwhile_no_part_is_kept(main: Main) -> None:
    """A partial result of a process that died while the broker was away is discarded."""
    job, child = read_in_part(main)
    child.kill()
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE, "it is dead")
    main.lose_the_broker()
    main.find_the_broker()
    assert main.pool._result_handler.half_read() == {}
    assert isinstance(main.error_of(job), WorkerLostError)
    successors = list(main.pool._pool)
    assert main.value_of(main.apply(len, "next")) == 4
    # Celery would have ended processes that never reported.
    assert main.pool._pool == successors


def test_a_job_that_was_written_in_part_is_written_to_its_end(main: Main) -> None:
    """A job that was written in part is written to its end and runs, although the broker was lost."""
    first = main.apply(len, "first")
    assert main.value_of(first) == 5
    child = child_of(first)
    child.send_signal(signal.SIGSTOP)
    job = main.apply(len, bytes(MORE_THAN_A_PIPE_HOLDS))
    main.run_until(lambda: main.pool._active_writes, "a part of it is written")
    child.resume()
    main.lose_the_broker()
    main.find_the_broker()
    assert main.value_of(job) == MORE_THAN_A_PIPE_HOLDS


def test_an_idle_child_gets_a_job_at_once(main: Main) -> None:
    """An idle process gets a job at once, before the event loop goes round again."""
    assert main.value_of(main.apply(len, "first")) == 5
    main.apply(len, "second")
    wait_until(lambda: unread(pipe_of_answers(main)), "it has begun, though nobody has turned")


def test_a_job_for_a_child_that_is_dead_goes_to_the_next_one(main: Main) -> None:
    """A job sent to a dead process runs in the next one."""
    first = main.apply(len, "first")
    assert main.value_of(first) == 5
    child = child_of(first)
    child.kill()
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE, "it is dead")
    assert main.value_of(main.apply(len, "second")) == 6


def test_a_hard_time_limit_outlives_the_connection(main: Main) -> None:
    """A hard time limit counts from the job's begin, although the broker was lost meanwhile."""
    job = main.apply(hang, timeout=2)
    main.run_until(job.accepted, "it has begun")
    begun_at = time.monotonic()
    main.lose_the_broker()
    main.find_the_broker()
    assert isinstance(main.error_of(job), TimeLimitExceeded)
    assert time.monotonic() - begun_at >= 2
    assert main.value_of(main.apply(len, "next")) == 4


def test_a_soft_time_limit_outlives_the_connection(main: Main) -> None:
    """A soft time limit reaches a job although the broker was lost meanwhile."""
    job = main.apply(hang_until_told, 1, soft_timeout=1, timeout=60)
    main.run_until(job.accepted, "it has begun")
    main.lose_the_broker()
    main.find_the_broker()
    assert main.value_of(job) == 1


def test_a_soft_time_limit_is_heard_once(main: Main) -> None:
    """A job that had its soft time limit before the broker was lost gets the hard one only."""
    heard: list[bool] = []
    job = main.pool.apply_async(
        hang_until_told,
        (2,),
        soft_timeout=0.5,
        timeout=2,
        timeout_callback=lambda soft, timeout: heard.append(soft),
    )
    main.run_until(lambda: heard == [True], "it has heard of the soft limit")
    main.lose_the_broker()
    main.find_the_broker()
    assert isinstance(main.error_of(job), TimeLimitExceeded)
    assert heard == [True, False]


def test_a_connection_that_is_lost_at_once_doubles_no_time_limit(main: Main) -> None:
    """A connection that is lost again at once does not double a job's time limits."""
    heard: list[bool] = []
    job = main.pool.apply_async(
        hang_until_told,
        (2,),
        soft_timeout=1,
        timeout=2,
        timeout_callback=lambda soft, timeout: heard.append(soft),
    )
    main.run_until(job.accepted, "it has begun")
    main.lose_the_broker()
    main.find_the_broker()
    main.find_the_broker()
    assert isinstance(main.error_of(job), TimeLimitExceeded)
    assert heard == [True, False]


def test_what_ended_while_the_broker_was_away_is_not_out_of_time(main: Main) -> None:
    """A job that ended in time while the broker was away has its result, not a time-out."""
    job = main.apply(time.sleep, 0.5, timeout=1)
    main.run_until(job.accepted, "it has begun")
    out_of_time_at = time.monotonic() + 1
    main.lose_the_broker()
    wait_until(lambda: unread(pipe_of_answers(main)), "it has ended")
    wait_until(lambda: time.monotonic() > out_of_time_at, "its time has run out")
    main.find_the_broker()
    assert main.value_of(job) is None


def test_an_answer_that_is_being_written_is_not_out_of_time(main: Main) -> None:
    """A job whose long result is still being written at its time limit has its result."""
    job = main.apply(bytes, MORE_THAN_A_PIPE_HOLDS, timeout=1)
    main.run_until(job.accepted, "it has begun")
    out_of_time_at = time.monotonic() + 1
    # Stands for a main process that waits for a frozen broker.
    wait_until(lambda: time.monotonic() > out_of_time_at, "its time has run out")
    assert main.value_of(job) == bytes(MORE_THAN_A_PIPE_HOLDS)


def test_nothing_stands_behind_a_job_that_hangs(main_of_two: Main) -> None:
    """No job is given to a hanging process while another is free, even after the broker was lost."""
    main = main_of_two
    hanging = main.apply(hang)
    main.run_until(hanging.accepted, "it has begun")
    main.lose_the_broker()
    main.find_the_broker()
    for place in range(10):
        assert main.value_of(main.apply(pow, place, 2)) == place**2
    assert not hanging.ready()


def test_a_child_in_place_of_one_that_was_busy_is_free(main: Main) -> None:
    """A process that replaces a dead one gets the next job after the broker returned."""
    job = main.apply(hang)
    main.run_until(job.accepted, "it has begun")
    os.kill(job.worker_pids()[0], signal.SIGKILL)
    main.run_until(lambda: [child.pid for child in main.pool._pool] != job.worker_pids(), "there is another")
    main.lose_the_broker()
    main.find_the_broker()
    assert main.value_of(main.apply(len, "next")) == 4


def test_nobody_listens_where_a_dead_child_was(main: Main) -> None:
    """The pool does not read from a dead process's descriptor, which may have another owner."""
    job = main.apply(hang)
    main.run_until(job.accepted, "it has begun")
    (dead,) = main.pool._pool
    dead.terminate()
    assert isinstance(main.error_of(job), WorkerLostError)
    read, write = os.pipe()
    try:
        main.pool._fileno_to_outq[read] = dead
        os.write(write, b"somebody else's")
        main.lose_the_broker()
        main.find_the_broker()
        assert main.value_of(main.apply(len, "next")) == 4
        assert os.read(read, 100) == b"somebody else's"
    finally:
        os.close(read)
        os.close(write)


def test_the_event_loop_is_the_processs_own_again(main: Main) -> None:
    """The event loop is the process's current one again when the broker is back."""
    main.lose_the_broker()
    assert get_event_loop() is None
    main.find_the_broker()
    assert get_event_loop() is main.hub


@pytest.mark.bounded
def test_a_command_that_hangs_while_the_broker_dies_is_ended_in_time(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """A command that hangs while the broker is restarted ends at its time limit, and the next one runs."""
    diary = tmp_path / "diary"
    with (
        closing(Installation(database_url, own_valkey.url, tmp_path)) as installation,
        installation.worker(
            "worker", "--concurrency", "1", *bounded_time_limits(), MAX_DELIVERIES="1"
        ) as worker,
    ):
        hanging = installation.send("probe.hang", str(diary))
        wait_until(diary.exists, "it hangs")
        own_valkey.kill()
        own_valkey.start()
        with SessionClient(own_valkey.url) as client:
            client.get_or_create("C1", "1700000000.000001", "U1")
        wait_until(installation.sessions, "the next command has run", timeout=30)
        installation.dead_letter(lambda letter: letter.task_id == hanging.id, timeout=30)
        assert worker.is_alive

"""The line of messages that are opened alone, in which each one's place passes to the next.

Servers and line are real; the pool's processes are simulated, and each job ends as its test decides.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import redis
from billiard.exceptions import WorkerLostError
from celery.concurrency.prefork import TaskPool
from kombu import Connection
from kombu.asynchronous.semaphore import LaxBoundedSemaphore
from kombu.message import Message

from tests.support.servers import as_owner
from tests.support.transport_peer import DURABLE, publish
from tests.support.waiting import wait_until
from threadsync.config import get_settings
from worker.db.dead_letters.store import DeadLetterStore
from worker.durable.deliveries import KEPT_BYTES, LARGEST_SUSPECT, envelope_of, unsealed
from worker.durable.opening import OutOfTime
from worker.durable.suspects import Suspects
from worker.local.servers.valkey import EmbeddedValkey


class Job:
    """A job for a process of the pool."""

    def __init__(self, pool: Processes, function: Callable[..., Any], args: Any, options: Any) -> None:
        self._pool, self._function, self._args, self._options = pool, function, args, options
        self._accepted = self._is_ready = False

    def ready(self) -> bool:
        return self._is_ready

    def begin(self) -> None:
        self._accepted = True

    def work(self) -> None:
        """Begin and do the job, without its result yet."""
        self.begin()
        self._answer = self._function(*self._args)

    def answer(self) -> None:
        """Free the place, and then report the result, as billiard does."""
        self._is_ready = True
        self._pool.semaphore.release()
        self._options["callback"](self._answer)

    def run(self) -> None:
        self.work()
        self.answer()

    def fail(self, error: Exception) -> None:
        """Report the process's death, and then free the place."""
        self.begin()
        self._is_ready = True
        self._options["error_callback"](SimpleNamespace(exception=error))
        self._pool.semaphore.release()


class Processes(TaskPool):
    """A stand-in for a prefork pool with one process."""

    def __init__(self) -> None:
        self.semaphore = LaxBoundedSemaphore(1)
        self.jobs: list[Job] = []

    def apply_async(self, target: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        job = Job(self, target, args, options)
        self.jobs.append(job)
        return job

    def flush(self) -> None:
        """Forget each job that was not begun, as Celery does when a connection is lost."""
        self.semaphore.clear()
        self.jobs = [job for job in self.jobs if job._accepted]

    def next(self) -> Job:
        return self.jobs.pop(0)


class Line:
    """A worker's main process, reduced to its handling of suspects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.processes = Processes()
        self.handled: list[Message] = []
        self.timers: list[Callable[[], None]] = []
        self.suspects: Any = None
        self.are_sealed = True
        self.handle: Callable[[Any], None] = self.handled.append
        self.connect()

    def connect(self) -> None:
        self._connection: Any = Connection(self.url, transport=DURABLE)
        self.channel: Any = self._connection.channel()
        consumer: Any = SimpleNamespace(
            pool=self.processes,
            controller=SimpleNamespace(semaphore=self.processes.semaphore),
            timer=SimpleNamespace(call_after=lambda _seconds, call: self.timers.append(call)),
            connection_errors=self._connection.connection_errors,
        )
        self.suspects = Suspects(consumer, lambda message, _key: self.handle(message), self.suspects)

    def lose_connection(self) -> None:
        """Lose the connection in the order of Celery's consumer; unfinished messages return to the broker."""
        self.close()
        self.timers.clear()
        self.suspects.forget()
        self.processes.flush()

    def close(self) -> None:
        self._connection.close()

    def take(self, count: int) -> None:
        for _ in range(count):
            message = self.channel.basic_get("q")
            assert message.envelope is not None, "it is to be a suspect"
            self.suspects.add(message if self.are_sealed else unsealed(message))

    def tick(self) -> None:
        """Let a second pass."""
        due, self.timers = self.timers, []
        for call in due:
            call()

    def open_next(self) -> Any:
        """Let a process open the next suspect, and return the message that the main process handles."""
        self.processes.next().run()
        return self.handled[-1]

    def finish(self, message: Any) -> None:
        """Delete the message's record and acknowledge it, as if its command had run."""
        DeadLetterStore().forget_redeliveries(envelope_of(message).key)
        message.ran_to_its_end = True
        message.ack()


Ending = Callable[[Line], None]


EACH_KIND = pytest.mark.parametrize("line", ["sealed", "opened by its transport"], indirect=True)


@pytest.fixture
def line(
    request: pytest.FixtureRequest, broker_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    """Yield a line with two suspects, sealed or opened by their transport; the first is being opened."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CELERY_BROKER_URL", broker_url)
    get_settings.cache_clear()
    send_suspects(broker_url, "first", "second")
    line = Line(broker_url)
    line.are_sealed = getattr(request, "param", "sealed") == "sealed"
    line.take(2)
    yield line
    line.close()


def send_suspects(url: str, *names: str) -> None:
    for name in names:
        publish(url, name, headers={"task": "probe", "id": name})
    make_suspects(url)


def make_suspects(url: str) -> None:
    """Mark all waiting messages as delivered twice before."""
    with redis.Redis.from_url(url) as server:
        for raw in server.lrange("q", 0, -1):
            server.hset("unacked_deliveries", json.loads(raw)["properties"]["delivery_tag"], "2")


def left(line: Line) -> int:
    with redis.Redis.from_url(line.url) as server:
        return int(server.llen("q") + server.hlen("unacked"))


def opened(database_url: str) -> int:
    """Return the number of records that are open."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT 1 FROM redeliveries WHERE opened_at IS NOT NULL").fetchall()
    return len(rows)


def deaths(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        (number,) = connection.execute("SELECT coalesce(sum(deaths), 0) FROM redeliveries").fetchone() or (
            -1,
        )
    return int(number)


def all_run(line: Line) -> list[str]:
    """Open, run and end all messages one at a time, and return them in that order."""
    ran = []
    while left(line):
        line.handled.clear()
        while not line.processes.jobs:
            line.tick()
            if not line.processes.jobs:
                line.take(1)
        assert len(line.processes.jobs) == 1, "one at a time"
        line.processes.next().run()
        for message in line.handled:
            ran.append(message.payload)
            line.finish(message)
    assert line.processes.semaphore.value == 1, "its place was given back"
    return ran


def dies(line: Line) -> None:
    line.processes.next().fail(WorkerLostError("signal 9"))


def takes_too_long(line: Line) -> None:
    line.processes.next().fail(OutOfTime("probe"))


@EACH_KIND
@pytest.mark.parametrize("ending", [dies, takes_too_long])
def test_a_death_is_counted_and_the_line_goes_on(line: Line, database_url: str, ending: Ending) -> None:
    job = line.processes.jobs[0]
    job.work()
    ending(line)
    line.finish(line.open_next())
    line.take(1)
    line.open_next()
    assert deaths(database_url) == 1
    line.finish(line.handled[-1])
    assert all_run(line) == []


@EACH_KIND
def test_what_the_main_process_cannot_hold_is_counted(line: Line, database_url: str) -> None:
    """A message that the main process cannot hold in memory is counted as a death."""

    def refuse(_message: Any) -> None:
        raise MemoryError

    line.handle = refuse
    line.processes.next().run()
    line.handle = line.handled.append
    line.finish(line.open_next())
    line.take(1)
    line.open_next()
    assert deaths(database_url) == 1
    line.finish(line.handled[-1])
    assert all_run(line) == []


def test_what_the_main_process_cannot_bury_is_counted(line: Line, database_url: str) -> None:
    """A message that the main process cannot bury goes back and is counted as a death."""
    message = line.open_next()
    message.ended_its_process = True
    message.reject(requeue=True)
    line.finish(line.open_next())
    line.take(1)
    line.open_next()
    assert deaths(database_url) == 1
    line.finish(line.handled[-1])
    assert all_run(line) == []


def test_what_arrives_cut_off_is_buried_in_the_end(line: Line, database_url: str) -> None:
    """A truncated message is buried after five counted deliveries, with its first part."""
    for _ in range(2):
        line.finish(line.open_next())
    publish(line.url, "x" * (2 * LARGEST_SUSPECT), headers={"task": "probe", "id": "large"})
    make_suspects(line.url)
    for number in range(6):
        line.take(1)
        line.processes.next().run()
        assert deaths(database_url) == (number if number < 5 else 0)
    assert left(line) == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT length(body), error FROM dead_letters").fetchall()
    ((kept, error),) = rows
    assert kept == KEPT_BYTES
    assert f"the first {KEPT_BYTES} of its" in error


def cannot_be_opened(line: Line) -> None:
    line.processes.next().fail(ValueError("of the pool"))


def finds_the_database_refusing(line: Line) -> None:
    owner = as_owner(os.environ["DATABASE_URL"])
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("ALTER TABLE redeliveries RENAME TO elsewhere")
        line.processes.next().run()
        connection.execute("ALTER TABLE elsewhere RENAME TO redeliveries")


def is_revoked(line: Line) -> None:
    line.open_next().ack()
    line.processes.next().run()


def is_acknowledged_on_another_path(line: Line) -> None:
    message = line.open_next()
    line.channel.basic_ack(message.delivery_tag)
    message.ack_log_error(None, ())
    line.processes.next().run()


def is_put_away(line: Line) -> None:
    message = line.open_next()
    message.is_put_away = True
    message.ack()
    line.processes.next().run()


def is_dropped(line: Line) -> None:
    line.open_next().reject()
    line.processes.next().run()


def is_handed_back(line: Line) -> None:
    line.open_next().reject(requeue=True)
    line.processes.next().run()


def is_handed_back_by_a_process_that_dies(line: Line) -> None:
    line.open_next().reject(requeue=True)
    line.processes.next().fail(WorkerLostError("signal 9"))


def cannot_be_handled(line: Line) -> None:
    """Let the handling of a message fail, as when the broker refuses to set it aside."""

    def fail(_message: Any) -> None:
        raise ConnectionError("reset by peer")

    line.handle = fail
    line.processes.next().run()
    line.handle = line.handled.append
    line.processes.next().run()


@EACH_KIND
@pytest.mark.parametrize(
    ("ending", "comes_again"),
    [
        (cannot_be_opened, True),
        (finds_the_database_refusing, True),
        (is_revoked, False),
        (is_acknowledged_on_another_path, False),
        (is_put_away, False),
        (is_dropped, False),
        (is_handed_back, True),
        (is_handed_back_by_a_process_that_dies, True),
        (cannot_be_handled, True),
    ],
)
def test_every_other_end_is_no_death_and_the_line_goes_on(
    line: Line, database_url: str, ending: Ending, comes_again: bool
) -> None:
    ending(line)
    assert sorted(all_run(line)) == (["first", "second"] if comes_again else ["second"])
    assert (deaths(database_url), opened(database_url)) == (0, 0)


@pytest.mark.parametrize("ending", [is_handed_back, cannot_be_handled, is_put_away, is_revoked, is_dropped])
def test_the_record_is_closed_when_it_goes(line: Line, database_url: str, ending: Ending) -> None:
    """The record of a message that leaves the worker is closed, so another worker counts no death."""
    ending(line)
    assert opened(database_url) == 0
    (counted, _was_read) = DeadLetterStore().open_suspect("first", "probe", "another worker")
    assert counted == 0


def test_one_that_waits_elsewhere_holds_up_none(line: Line, database_url: str) -> None:
    """A message that waits elsewhere gives its place to the next one."""
    waits = line.open_next()
    waits.on_set_aside()
    line.processes.next().run()
    assert opened(database_url) == 0
    line.finish(line.open_next())
    line.finish(waits)
    assert all_run(line) == []


def in_line(_line: Line) -> None:
    """Leave the message in line, before any process begins to open it."""


def before_its_record(line: Line) -> None:
    line.processes.jobs[0].begin()


def before_the_answer(line: Line) -> None:
    line.processes.jobs[0].work()


def while_it_runs(line: Line) -> None:
    line.open_next()


def while_it_is_handed_back(line: Line) -> None:
    line.open_next().reject(requeue=True)


@pytest.mark.parametrize(
    "moment", [in_line, before_its_record, before_the_answer, while_it_runs, while_it_is_handed_back]
)
def test_a_connection_that_is_lost_loses_none_and_counts_none(
    line: Line, database_url: str, moment: Ending
) -> None:
    """A lost connection at any moment loses no message, counts no death and leaves no open record."""
    moment(line)
    line.lose_connection()
    for job in line.processes.jobs:
        # The job had begun, and ends now.
        if not hasattr(job, "_answer"):
            job.work()
        job.answer()
    line.processes.jobs.clear()
    assert opened(database_url) == 0
    line.connect()
    assert sorted(all_run(line)) == ["first", "second"]
    assert deaths(database_url) == 0


def test_a_record_that_may_have_been_written_is_closed(line: Line, database_url: str) -> None:
    """A record that may have been written despite an error is closed when the connection is lost."""
    job = line.processes.next()
    job.work()
    job._answer = "wait"
    job.answer()
    assert opened(database_url) == 1
    line.lose_connection()
    assert opened(database_url) == 0


def test_the_same_is_not_opened_while_a_process_still_reads_it(line: Line) -> None:
    """A message that came again is not opened while a process still reads its former delivery."""
    reading = line.processes.jobs[0]
    reading.work()
    line.lose_connection()
    line.processes.jobs.clear()
    line.connect()
    line.take(2)
    assert line.open_next().payload == "second", "another goes first"
    line.finish(line.handled[-1])
    assert line.processes.jobs == []
    line.tick()
    assert line.processes.jobs == []
    reading.answer()
    line.tick()
    assert all_run(line) == ["first"]


def others_wait(line: Line, number: int) -> list[int]:
    """Let other messages wait for the one process, and return the list of those that have had it."""
    served: list[int] = []
    semaphore = line.processes.semaphore
    for place in range(number):
        semaphore.acquire(served.append, place)

    def handle(message: Any) -> None:
        semaphore.acquire(line.handled.append, message)

    line.handle = handle
    return served


def test_the_line_goes_before_what_waits_for_a_process(line: Line) -> None:
    """A suspect in line gets a free process before other waiting messages."""
    served = others_wait(line, 100)
    semaphore = line.processes.semaphore
    for number in (1, 2):
        line.processes.next().run()
        # The place passes on before the message is cleared to run.
        assert (len(served), len(line.handled)) == (number, number - 1)
        semaphore.release()
        assert (len(served), len(line.handled)) == (number, number)
        line.finish(line.handled[-1])
        semaphore.release()
    assert served == [0, 1, 2]


def test_what_ended_a_process_waits_like_the_others(line: Line) -> None:
    """A message that ended a process waits behind the others."""
    served = others_wait(line, 10)
    dies(line)
    line.take(1)
    line.processes.next().run()
    line.processes.semaphore.release()
    line.finish(line.handled[-1])
    while len(served) < 10:
        assert not line.processes.jobs, "it waits for its turn"
        line.processes.semaphore.release()
    line.processes.semaphore.release()
    assert len(line.processes.jobs) == 1


def test_a_place_that_is_free_too_late_is_given_back(line: Line) -> None:
    """A place that becomes free for a forgotten line is given back."""
    line.finish(line.open_next())
    semaphore = line.processes.semaphore
    line.processes.jobs.clear()
    semaphore.value = 0
    stale = line.suspects
    line.suspects.forget()
    stale._use_place(object(), lambda: pytest.fail("it is not its turn any more"))
    assert semaphore.value == 1


def test_a_broker_that_refuses_does_not_stop_the_line(
    own_valkey: EmbeddedValkey, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that refuses acknowledgements and returns does not stop the line."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CELERY_BROKER_URL", own_valkey.url)
    get_settings.cache_clear()
    send_suspects(own_valkey.url, "acknowledged", "dies", "handed back", "last")
    line = Line(own_valkey.url)
    line.take(4)
    with redis.Redis.from_url(own_valkey.url) as administrator:
        administrator.replicaof("127.0.0.1", 1)
        line.finish(line.open_next())
        dies(line)
        line.open_next().reject(requeue=True)
        line.processes.next().run()
        assert line.open_next().payload == "last"
        administrator.replicaof("NO", "ONE")
        line.finish(line.handled[-1])
        assert line.processes.semaphore.value == 1
        # Refused acknowledgements are repeated, or their messages become overdue.
        line.close()
        wait_until(lambda: administrator.hlen("unacked") <= 2, "what ended is gone")

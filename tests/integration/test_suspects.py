"""The line of messages that are opened alone: whatever becomes of one, its place and its turn are given on.

Real servers and the real line. Only the processes of the pool are not there: each of their jobs ends as a
test says.
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
        """Begin, and do it, without a word of the answer yet."""
        self.begin()
        self._answer = self._function(*self._args)

    def answer(self) -> None:
        """The place is free before the answer is heard, as in billiard."""
        self._is_ready = True
        self._pool.semaphore.release()
        self._options["callback"](self._answer)

    def run(self) -> None:
        self.work()
        self.answer()

    def fail(self, error: Exception) -> None:
        """A process that died is replaced, and then the place is free."""
        self.begin()
        self._is_ready = True
        self._options["error_callback"](SimpleNamespace(exception=error))
        self._pool.semaphore.release()


class Processes(TaskPool):
    """Stands in for a prefork pool with one process."""

    def __init__(self) -> None:
        self.semaphore = LaxBoundedSemaphore(1)
        self.jobs: list[Job] = []

    def apply_async(self, target: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        job = Job(self, target, args, options)
        self.jobs.append(job)
        return job

    def flush(self) -> None:
        """As Celery does when a connection is lost: forget each that was not begun."""
        self.semaphore.clear()
        self.jobs = [job for job in self.jobs if job._accepted]

    def next(self) -> Job:
        return self.jobs.pop(0)


class Line:
    """A worker's main process, as far as it has to do with suspects."""

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
        """In the order of Celery's consumer. What it had goes back to the broker."""
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
        """A second passes."""
        due, self.timers = self.timers, []
        for call in due:
            call()

    def open_next(self) -> Any:
        """Let a process open what has its turn; returns what the main process handles then."""
        self.processes.next().run()
        return self.handled[-1]

    def finish(self, message: Any) -> None:
        """As if its command had run: its child forgets the record."""
        DeadLetterStore().forget_redeliveries(envelope_of(message).key)
        message.ran_to_its_end = True
        message.ack()


Ending = Callable[[Line], None]


EACH_KIND = pytest.mark.parametrize("line", ["sealed", "opened by its transport"], indirect=True)


@pytest.fixture
def line(
    request: pytest.FixtureRequest, broker_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    """With two suspects in line, sealed or opened by their transport; the first has its turn."""
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
    """Of all that waits: delivered twice before."""
    with redis.Redis.from_url(url) as server:
        for raw in server.lrange("q", 0, -1):
            server.hset("unacked_deliveries", json.loads(raw)["properties"]["delivery_tag"], "2")


def left(line: Line) -> int:
    with redis.Redis.from_url(line.url) as server:
        return int(server.llen("q") + server.hlen("unacked"))


def opened(database_url: str) -> int:
    """Records of messages that are open."""
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
    """Open, run and end all that is there or comes again, one at a time; returns them in that order."""
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
    """It would fare the same each time: opened again as often as a message that kills, then buried."""

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
    """The message goes back as one that ended its process."""
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
    """Each delivery counts; the letter has the beginning, and says so."""
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
    """The broker fails just when it is to be set aside, say."""

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
    """So the next one that opens it, another worker, finds no death."""
    ending(line)
    assert opened(database_url) == 0
    (counted, _was_read) = DeadLetterStore().open_suspect("first", "probe", "another worker")
    assert counted == 0


def test_one_that_waits_elsewhere_holds_up_none(line: Line, database_url: str) -> None:
    """The broker has it, or this worker, because the broker refused."""
    waits = line.open_next()
    waits.on_set_aside()
    line.processes.next().run()
    assert opened(database_url) == 0
    line.finish(line.open_next())
    line.finish(waits)
    assert all_run(line) == []


def in_line(_line: Line) -> None:
    """No process has begun to open it."""


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
    """At whatever moment: another worker that opens it next finds no record that is open."""
    moment(line)
    line.lose_connection()
    for job in line.processes.jobs:
        # It was begun, and ends now.
        if not hasattr(job, "_answer"):
            job.work()
        job.answer()
    line.processes.jobs.clear()
    assert opened(database_url) == 0
    line.connect()
    assert sorted(all_run(line)) == ["first", "second"]
    assert deaths(database_url) == 0


def test_a_record_that_may_have_been_written_is_closed(line: Line, database_url: str) -> None:
    """An error of Postgres does not say that nothing was written."""
    job = line.processes.next()
    job.work()
    job._answer = "wait"
    job.answer()
    assert opened(database_url) == 1
    line.lose_connection()
    assert opened(database_url) == 0


def test_the_same_is_not_opened_while_a_process_still_reads_it(line: Line) -> None:
    """It came again with the next connection, while the process has it from the former one."""
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
    """Let messages that are no suspects wait for the one process; returns those that have had it."""
    served: list[int] = []
    semaphore = line.processes.semaphore
    for place in range(number):
        semaphore.acquire(served.append, place)

    def handle(message: Any) -> None:
        semaphore.acquire(line.handled.append, message)

    line.handle = handle
    return served


def test_the_line_goes_before_what_waits_for_a_process(line: Line) -> None:
    """Others may wait for what is in it: a command for the session that one of these creates."""
    served = others_wait(line, 100)
    semaphore = line.processes.semaphore
    for number in (1, 2):
        line.processes.next().run()
        # Its place is given on before it is known that it may run.
        assert (len(served), len(line.handled)) == (number, number - 1)
        semaphore.release()
        assert (len(served), len(line.handled)) == (number, number)
        line.finish(line.handled[-1])
        semaphore.release()
    assert served == [0, 1, 2]


def test_what_ended_a_process_waits_like_the_others(line: Line) -> None:
    """However many of them there are, others go on at their pace."""
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
    """Its turn had come, all processes were busy, and then it went back."""
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
    """A master that became a replica takes neither acknowledgements nor what comes back."""
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
        # What was refused is told again, or is overdue some time.
        line.close()
        wait_until(lambda: administrator.hlen("unacked") <= 2, "what ended is gone")

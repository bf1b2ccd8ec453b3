"""Messages that end a process by being opened, or are too large for it: none goes round for ever."""

from __future__ import annotations

import base64
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.support.broker_pairs import BrokerServer, RabbitClassic, Site, ValkeyTcp, install_on
from tests.support.scale import scaled
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.workers import WorkerGroup
from worker.durable.deliveries import KEPT_BYTES

MB = 1_000_000


class _RabbitQuorum(RabbitClassic):
    name = "rabbitmq-quorum"
    unsuspected = 2
    kind = "quorum"


@pytest.fixture(scope="module", params=[ValkeyTcp, RabbitClassic, _RabbitQuorum], ids=lambda kind: kind.name)
def server(
    request: pytest.FixtureRequest, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerServer]:
    server: BrokerServer = request.param(tmp_path_factory.mktemp(request.param.name), valkey)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def site(server: BrokerServer, postgres: PostgresForTests, tmp_path: Path) -> Iterator[Site]:
    """Install a site without a worker."""
    with install_on(server, postgres, tmp_path) as site:
        yield site


def leave_only(size: int, worker: WorkerGroup) -> None:
    """Limit the further memory of the worker's main process to ``size``."""
    limit = psutil.Process(worker.pid).memory_info().vms + size
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))


_OBJECTS = b"[[" + b"{}," * (5 * MB) + b"{}], {}, {}]"

TOO_MUCH = {
    "bytes": (b"\xff" * (18 * MB), ""),
    "text": (b'[["' + b"x" * (18 * MB) + b'"], {}, {}]', ""),
    "objects": (_OBJECTS + b" " * (3 * MB), ""),
    "a bomb": (zlib.compress(bytes(400 * MB)), "zlib"),
    "a bomb within the limit": (zlib.compress(_OBJECTS), "zlib"),
}


def test_what_is_too_large_for_the_worker_is_buried(site: Site) -> None:
    """Messages too large for the worker become dead letters, and commands beside them run."""
    with site.worker() as worker:
        leave_only(300 * MB, worker)
        for task_id, (body, compression) in TOO_MUCH.items():
            site.publish(body, id=task_id, task="no.such.task", compression=compression or None)
            beside = site.send("sessions.get", channel_id="C1", thread_ts="1.1")
            letter = site.dead_letter(lambda letter, i=task_id: letter.task_id == i, timeout=30)  # type: ignore[misc]
            assert letter.body in {body, _OBJECTS}, "as it came, or as it was decompressed"
            assert beside.get(timeout=20) is None
        wait_until(lambda: site.waiting() == 0, "nothing goes round", 30)
        assert worker.is_alive
    assert site.deaths() == []


def letters(site: Site) -> tuple[Any, ...] | None:
    """Return the number of dead letters, and the shortest length of their arguments."""
    with psycopg.connect(site.database_url) as connection:
        count = "SELECT count(DISTINCT task_id), min(length(arguments)) FROM dead_letters"
        return connection.execute(count).fetchone()


def test_what_opens_to_much_is_opened_one_by_one(site: Site) -> None:
    """Messages that unpack to much are opened one by one, so that the main process lives."""
    packed = zlib.compress(b'[["' + b"x" * (14 * MB) + b'"], {}, {}]')
    whole = (scaled(100), 14 * MB + len('{"args": [""], "kwargs": {}}'))
    with site.worker() as worker:
        pid = worker.pid
        leave_only(300 * MB, worker)
        for number in range(scaled(100)):
            site.publish(packed, id=f"packed {number}", task="sessions.get", compression="zlib")
        assert site.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=30) is None
        wait_until(lambda: letters(site) == whole, "all are dead letters", 240)
        wait_until(lambda: site.waiting() == 0, "all have ended", 60)
        assert (worker.is_alive, worker.pid) == (True, pid)
    assert site.deaths() == []


@pytest.mark.parametrize("server", [ValkeyTcp], ids=["valkey-tcp"], indirect=True)
def test_a_worker_takes_no_more_than_it_can_hold(site: Site) -> None:
    """A worker survives large messages, though RabbitMQ sends as many as it may hold, whatever their size."""
    body = b'[["' + b"x" * (10 * MB) + b'"], {}, {}]'
    with site.worker() as worker:
        pid = worker.pid
        leave_only(300 * MB, worker)
        for number in range(scaled(100)):
            site.publish(body, id=f"large {number}", task="no.such.task")
        wait_until(lambda: letters(site) == (scaled(100), None), "all are dead letters", 240)
        wait_until(lambda: site.waiting() == 0, "all have ended", 60)
        assert (worker.is_alive, worker.pid) == (True, pid)


TOO_LARGE = {"hard to keep": b"\xff" * (18 * MB), "hard to receive": b"\xff" * (64 * MB)}


def test_what_does_not_even_fit_into_the_worker_is_buried(site: Site) -> None:
    """A message that does not fit into the worker ends as a dead letter with its beginning."""
    ends = 0
    with site.worker() as worker:
        leave_only(60 * MB, worker)
        for task_id, body in TOO_LARGE.items():
            site.publish(body, id=task_id, task="no.such.task")
            while not is_buried(site, task_id):
                wait_until(lambda i=task_id: is_buried(site, i) or not worker.is_alive, "a dead letter", 120)  # type: ignore[misc]
                if not worker.is_alive:
                    ends += 1
                    worker.start()
                    leave_only(60 * MB, worker)
            (letter,) = (letter for letter in site.dead_letters() if letter.task_id == task_id)
            # Valkey has it in a message of kombu's.
            wrapped = b'{"body": "' + base64.b64encode(body[: 90 * 1024])
            assert letter.body
            assert body.startswith(letter.body) or wrapped.startswith(letter.body)
            assert len(letter.body) < len(body) or task_id == "hard to keep"
            if len(letter.body) < len(body):
                assert (letter.error_type, len(letter.body)) == ("PoisonCommand", KEPT_BYTES)
                assert f"the first {len(letter.body)} of its" in letter.error
            # Until then the broker itself is busy with it at times, for longer than a client waits.
            wait_until(lambda: site.waiting() == 0, "nothing goes round", 30)
            assert site.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=30) is None
    assert ends <= 2 * len(TOO_LARGE)
    assert site.deaths() == []


def is_buried(site: Site, task_id: str) -> bool:
    with psycopg.connect(site.database_url) as connection:
        return bool(connection.execute("SELECT 1 FROM dead_letters WHERE task_id = %s", [task_id]).fetchone())


def test_the_count_of_deaths_survives(server: BrokerServer, site: Site, tmp_path: Path) -> None:
    """The count of a message's deaths survives restarts of worker and broker, and other workers."""
    diary = tmp_path / "diary"
    result = site.send("probe.hang", str(diary))
    runs = 0

    def has_begun(worker: WorkerGroup) -> WorkerGroup:
        nonlocal runs
        runs += 1
        wait_until(lambda: diary.exists() and diary.read_text().count("run") >= runs, f"run {runs}", 60)
        return worker

    def end_its_process(worker: WorkerGroup) -> None:
        for process in worker.children:
            process.kill()

    names = ["first", "first", "second", "third"]
    first, again, second, third = (site.worker(name, "--concurrency", "1") for name in names)
    with first:
        for _ in range(server.unsuspected + 1):
            end_its_process(has_begun(first))
        has_begun(first)
    with again:
        has_begun(again)
    with second:
        has_begun(second)
    server.kill()
    server.start()
    with third:
        end_its_process(has_begun(third))
        letter = site.dead_letter(lambda letter: letter.task_id == result.id, timeout=60)
    assert (letter.error_type, letter.attempts) == ("PoisonCommand", 5)
    assert diary.read_text().count("run") == server.unsuspected + 5

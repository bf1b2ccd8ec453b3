"""Waiting for results by one subscription (threadsync/broker/subscription), on real servers."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis_servers import RedisServer, SentinelSet, redis_program
from tests.support.result_store import Found, Store, Waiters
from tests.support.tls import Authority
from tests.support.waiting import wait_until
from threadsync.broker.subscription.waiters import MOST_BYTES
from threadsync.errors import CommandFailed, UnreadableResult
from threadsync.sending import Broker

# Without `unsubscribe`, too, nothing is left behind: the connection is closed.
UNHEARING = "unhearing on >pw ~* resetchannels +@all -subscribe"
UNREADING = "unreading on >pw ~* &* +@all -getrange"
MANY = 3_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("results")
    with RedisServer(folder, users=[UNHEARING, UNREADING]) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server to be frozen and restarted."""
    with RedisServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    store = Store(server)
    yield store
    store.close()


@pytest.fixture(params=["threads", "asyncio"])
def waiters(request: pytest.FixtureRequest) -> Iterator[Waiters]:
    waiters = Waiters(request.param)
    yield waiters
    waiters.close()


@pytest.fixture
def broker(server: RedisServer) -> Iterator[Broker]:
    broker = Broker(server.url())
    yield broker
    broker.close()


@pytest.fixture
def task_id() -> str:
    return str(uuid4())


def test_a_result_wakes_who_waits_for_it(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A result that is stored while somebody waits is returned, and the subscription ends."""
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert found.result(10) == (True, "here")
    store.wait_until_heard()


def test_a_failure_is_raised(waiters: Waiters, broker: Broker, store: Store, task_id: str) -> None:
    """A failure that is stored while somebody waits is raised."""
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, {"exc_type": "ValueError", "exc_module": "builtins"}, "FAILURE")
    with pytest.raises(CommandFailed, match="ValueError"):
        found.result(10)
    store.wait_until_heard()


def test_a_result_that_is_there_costs_one_look(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A result that is there already costs one GETRANGE, and no subscription."""
    store.put("warm-up", 0)
    waiters.wait(broker, "warm-up").result(10)
    store.put(task_id, "here")
    store.client.config_resetstat()
    assert waiters.wait(broker, task_id).result(10) == (True, "here")
    calls = {name: facts["calls"] for name, facts in store.client.info("commandstats").items()}
    assert calls == {"cmdstat_getrange": 1, "cmdstat_config|resetstat": 1}


def test_a_result_that_is_to_change_is_waited_for(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A command that waits for its session, or was begun, has no result yet."""
    store.put(task_id, None, "STARTED")
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, {"exc_type": "SessionNotFound"}, "RETRY")
    store.put(task_id, "here")
    assert found.result(10) == (True, "here")


def test_a_lost_message_is_made_up_for(waiters: Waiters, broker: Broker, store: Store, task_id: str) -> None:
    """A result whose message was lost is found all the same, by a look from time to time."""
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, "here", is_published=False)
    assert found.result(10) == (True, "here")


def test_a_message_is_no_result(waiters: Waiters, broker: Broker, store: Store, task_id: str) -> None:
    """What is published and not stored is not taken for a result, however large it is."""
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.publish(task_id, b'{"status": "SUCCESS", "result": "forged"}')
    store.publish(task_id, b"x" * 20_000_000)
    store.put(task_id, "stored")
    assert found.result(10) == (True, "stored")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_long_result_is_read(
    waiters: Waiters, broker: Broker, store: Store, task_id: str, is_there: bool
) -> None:
    """A result too long for the subscriber's connection is read on another one."""
    text = "x" * MOST_BYTES
    if is_there:
        store.put(task_id, text)
    found = waiters.wait(broker, task_id)
    if not is_there:
        store.wait_until_heard(task_id)
        store.put(task_id, text)
    assert found.result(10) == (True, text)


def test_a_key_of_another_type_is_said_to_be_none(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A key of another type raises UnreadableResult while the subscription goes on for others."""
    other = waiters.wait(broker, f"other-{task_id}")
    store.wait_until_heard(f"other-{task_id}")
    store.client.rpush(f"celery-task-meta-{task_id}", "x")
    with pytest.raises(UnreadableResult):
        waiters.wait(broker, task_id).result(10)
    store.put(f"other-{task_id}", "here")
    assert other.result(10) == (True, "here")


def test_all_who_wait_for_one_result_get_it(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """Several waiters for one id share a subscription, which ends with the last of them."""
    impatient = waiters.wait(broker, task_id, 0.2)
    found = [waiters.wait(broker, task_id) for _ in range(5)]
    assert impatient.result(10) == (False, None)
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert [one.result(10) for one in found] == [(True, "here")] * 5
    store.wait_until_heard()


def test_who_gives_up_leaves_nothing_behind(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A waiter whose time is over leaves no subscription, here or on the server."""
    assert waiters.wait(broker, task_id, 0.3).result(10) == (False, None)
    store.wait_until_heard()
    store.put(task_id, "late")
    assert waiters.wait(broker, task_id).result(10) == (True, "late")


def test_a_cancelled_task_leaves_nothing_behind(broker: Broker, store: Store, task_id: str) -> None:
    """A task that is cancelled while it waits leaves no subscription."""

    async def cancelled() -> None:
        task = asyncio.create_task(broker.result_within_async(task_id, 20))
        await asyncio.to_thread(store.wait_until_heard, task_id)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(store.wait_until_heard)
        broker.close()

    asyncio.run(cancelled())


def test_an_interrupted_reader_hands_over(broker: Broker, store: Store, task_id: str) -> None:
    """A thread that reads for all and is interrupted by a signal lets another one read."""
    other: Future[Found] = Future()

    def wait() -> None:
        wait_until(lambda: store.heard() == {"reader"}, "the main thread reads")
        waiting = threading.Thread(target=lambda: other.set_result(broker.result_within(task_id, 20)))
        waiting.start()
        store.wait_until_heard("reader", task_id)
        os.kill(os.getpid(), signal.SIGUSR1)
        store.wait_until_heard(task_id)
        store.put(task_id, "here")
        waiting.join()

    def interrupt(*_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            raise InterruptedError("by a signal")

    before = signal.signal(signal.SIGUSR1, interrupt)
    beside = threading.Thread(target=wait)
    try:
        beside.start()
        with pytest.raises(InterruptedError):
            broker.result_within("reader", 20)
    finally:
        beside.join()
        signal.signal(signal.SIGUSR1, before)
    assert other.result(10) == (True, "here")


def test_thousands_share_a_connection(broker: Broker, store: Store) -> None:
    """Thousands of ids are waited for by one connection of a loop."""

    def put_many() -> None:
        for number in range(MANY):
            store.put(f"many-{number}", number)

    async def all_of_them() -> None:
        tasks = [
            asyncio.create_task(broker.result_within_async(f"many-{number}", 60)) for number in range(MANY)
        ]
        await asyncio.to_thread(wait_until, lambda: len(store.heard()) == MANY, "all are subscribed to", 30)
        assert len(store.subscribers()) == 1
        await asyncio.to_thread(put_many)
        assert await asyncio.gather(*tasks) == [(True, number) for number in range(MANY)]
        await asyncio.to_thread(store.wait_until_heard)
        broker.close()

    asyncio.run(all_of_them())


def test_each_loop_has_a_connection_that_ends_with_it(broker: Broker, store: Store, task_id: str) -> None:
    """A client is used by several loops, one after the other, and no connection of an ended one stays."""

    async def one(number: int) -> Found:
        waiting = asyncio.create_task(broker.result_within_async(f"{task_id}-{number}", 20))
        await asyncio.to_thread(store.wait_until_heard, f"{task_id}-{number}")
        await asyncio.to_thread(store.put, f"{task_id}-{number}", number)
        return await waiting

    before = len(store.client.client_list())
    for number in range(4):
        assert asyncio.run(one(number)) == (True, number)
    assert len(store.client.client_list()) <= before + 1
    broker.close()
    wait_until(lambda: len(store.client.client_list()) == before, "no connection is left")


def test_a_forked_process_waits_by_itself(broker: Broker, store: Store, task_id: str) -> None:
    """Parent and child of a fork, in whose middle a thread waits, each get their results."""
    waiters = Waiters("threads")
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(broker.result_within(f"{task_id}-child", 20) != (True, "the child's"))
        finally:
            os._exit(code)
    store.wait_until_heard(task_id, f"{task_id}-child")
    store.put(f"{task_id}-child", "the child's")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.put(task_id, "the parent's")
    assert found.result(10) == (True, "the parent's")
    waiters.close()


@pytest.mark.parametrize("user", ["unhearing", "unreading"])
def test_without_the_right_results_are_polled_for(
    server: RedisServer, waiters: Waiters, store: Store, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the user may not subscribe, results are found by polling, and the log says so once."""
    broker = Broker(server.url(user=f"{user}:pw"))
    with caplog.at_level(logging.WARNING, "threadsync"):
        for number in range(3):
            task_id = str(uuid4())
            found = waiters.wait(broker, task_id)
            wait_until(lambda: caplog.records, "the refusal is in the log")
            store.put(task_id, number)
            assert found.result(10) == (True, number)
    assert [record.name for record in caplog.records] == ["threadsync"]
    assert "NOPERM" in caplog.text
    broker.close()


class OldServer(RedisServer):
    """A server that knows no RESP3."""

    def client(self, database: int = 0) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self.url(database), decode_responses=True, protocol=2, retry=once)


def test_a_server_without_resp3_is_polled(tmp_path: Path, waiters: Waiters, task_id: str) -> None:
    """A server that knows no HELLO is polled."""
    with OldServer(tmp_path / "old", settings={"rename-command": 'HELLO ""'}) as server:
        broker, store = Broker(server.url(), f"{server.url()}?protocol=2"), Store(server)
        found = waiters.wait(broker, task_id)
        store.put(task_id, "here")
        assert found.result(10) == (True, "here")
        assert store.subscribers() == []
        broker.close()
        store.close()


def test_a_closed_connection_is_renewed(waiters: Waiters, broker: Broker, store: Store, task_id: str) -> None:
    """A connection that the server closes is renewed, and no result in between is missed."""
    found = waiters.wait(broker, task_id)
    for number in range(3):
        store.wait_until_heard(task_id)
        (before,) = store.subscribers()
        if number == 2:
            store.put(task_id, "here", is_published=False)
        store.client.client_kill_filter(before)
        if number < 2:
            wait_until(lambda: store.subscribers() not in ([], [before]), "it is renewed")  # noqa: B023
    assert found.result(10) == (True, "here")


def test_a_connection_closed_while_idle_is_renewed(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """A connection that was closed while nobody waited is renewed for the next one who does."""
    store.put("first", 1)
    assert waiters.wait(broker, "first").result(10) == (True, 1)
    store.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert found.result(10) == (True, "here")


def test_nothing_is_missed_while_connections_are_closed(
    waiters: Waiters, broker: Broker, store: Store, task_id: str
) -> None:
    """Results come to all who wait, in any order, while connections are closed again and again."""
    chance = random.Random(7)
    places = list(range(300))
    found = [waiters.wait(broker, f"{task_id}-{place}", 60) for place in places]
    chance.shuffle(places)
    for number, place in enumerate(places):
        if number % 10 == 0:
            store.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        store.put(f"{task_id}-{place}", place, is_published=chance.random() < 0.9)
    assert [one.result(60) for one in found] == [(True, place) for place in range(300)]
    store.wait_until_heard()


def test_a_server_that_starts_again(own: RedisServer, waiters: Waiters, task_id: str) -> None:
    """A result that is stored after the server was killed and started again wakes who waits for it."""
    broker, store = Broker(own.url()), Store(own)
    found = waiters.wait(broker, task_id, 60)
    store.wait_until_heard(task_id)
    own.restart()
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert found.result(20) == (True, "here")
    broker.close()
    store.close()


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_breaks_no_time_limit(
    own: RedisServer, waiters: Waiters, task_id: str, is_connected: bool
) -> None:
    """A server that stands still costs no waiter more than its time."""
    broker, store = Broker(own.url()), Store(own)
    patient: list[Future[Found]] = []
    if is_connected:
        patient = [waiters.wait(broker, task_id, 60)]
        store.wait_until_heard(task_id)
    own.freeze()
    began = time.monotonic()
    hasty = [waiters.wait(broker, str(uuid4()), 0.5 + number) for number in range(3)]
    for number, one in enumerate(hasty):
        assert one.result(10) == (False, None)
        assert 0.5 + number <= time.monotonic() - began < 0.5 + number + 0.4
    own.thaw()
    patient.append(waiters.wait(broker, task_id, 60))
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert [one.result(20) for one in patient] == [(True, "here")] * len(patient)
    broker.close()
    store.close()


def test_a_server_held_up_by_a_script(tmp_path: Path, waiters: Waiters, task_id: str) -> None:
    """A script that does not end delays who waits, and does not make the client poll from then on."""
    with RedisServer(tmp_path / "server", settings={"busy-reply-threshold": "1"}) as server:
        broker, store = Broker(server.url()), Store(server)
        store.put("warm-up", 0)
        assert waiters.wait(broker, "warm-up").result(10) == (True, 0)
        holding = threading.Thread(target=hold_up, args=[server])
        holding.start()
        wait_until(lambda: is_held_up(store), "the server is held up")
        found = waiters.wait(broker, task_id, 60)
        store.client.execute_command("SCRIPT", "KILL")
        holding.join()
        store.wait_until_heard(task_id)
        store.put(task_id, "here")
        assert found.result(20) == (True, "here")
        broker.close()
        store.close()


def hold_up(server: RedisServer) -> None:
    with server.client() as client, pytest.raises(redis.ResponseError, match="killed"):
        client.execute_command("EVAL", "while true do end", 0)


def is_held_up(store: Store) -> bool:
    try:
        store.client.get("x")
    except redis.ResponseError:
        return True
    return False


def test_a_failover(tmp_path: Path, waiters: Waiters, task_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits behind sentinels hears the new master after the old one has gone."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", '{"master_name": "broker"}')
    with SentinelSet(tmp_path, replicas=1, sentinels=1) as servers:
        broker = Broker(servers.url)
        found = waiters.wait(broker, task_id, 60)
        old = servers.master
        store = Store(old)
        store.wait_until_heard(task_id)
        store.close()
        old.freeze()
        wait_until(lambda: servers.master is not old, "another is the master", 30)
        store = Store(servers.master)
        store.wait_until_heard(task_id)
        store.put(task_id, "here")
        assert found.result(20) == (True, "here")
        broker.close()
        store.close()


@pytest.mark.parametrize("program", ["valkey", "redis"])
def test_by_a_socket(tmp_path: Path, waiters: Waiters, task_id: str, program: str) -> None:
    """A result is heard of over a Unix socket, from Valkey and from Redis 7.0."""
    with RedisServer(tmp_path / "s", redis_program() if program == "redis" else None) as server:
        broker, store = Broker(server.socket_url()), Store(server)
        found = waiters.wait(broker, task_id)
        store.wait_until_heard(task_id)
        store.put(task_id, "here")
        assert found.result(10) == (True, "here")
        broker.close()
        store.close()


def test_by_tls(tmp_path: Path, waiters: Waiters) -> None:
    """Results of all lengths come over TLS, many at once."""
    authority = Authority(tmp_path)
    with RedisServer(tmp_path / "tls", redis_program(), authority=authority) as server:
        broker, store = Broker(f"{server.tls_url()}?{authority.query()}"), Store(server)
        lengths = [1, 1_000, 16_384, 65_000, 65_536, 200_000] * 5
        found = [waiters.wait(broker, f"tls-{number}") for number in range(len(lengths))]
        store.wait_until_heard(*(f"tls-{number}" for number in range(len(lengths))))
        for number, length in enumerate(lengths):
            store.put(f"tls-{number}", "x" * length)
        assert [len(one.result(10)[1]) for one in found] == lengths
        broker.close()
        store.close()


def test_a_key_prefix_is_part_of_the_channel(
    server: RedisServer, waiters: Waiters, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key prefix the channel is the one that Celery publishes on."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", '{"global_keyprefix": "ts"}')
    broker, store = Broker(server.url()), Store(server, "ts_")
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    store.put(task_id, "here")
    assert found.result(10) == (True, "here")
    broker.close()
    store.close()


def test_closing_a_client_ends_no_wait(waiters: Waiters, broker: Broker, store: Store, task_id: str) -> None:
    """A client that is closed while somebody waits brings the result all the same, then hangs up."""
    found = waiters.wait(broker, task_id)
    store.wait_until_heard(task_id)
    (before,) = store.subscribers()
    broker.close()
    wait_until(lambda: store.subscribers() not in ([], [before]), "another connection takes its place")
    store.put(task_id, "here")
    assert found.result(10) == (True, "here")
    mine = str(store.client.client_id())
    wait_until(lambda: [client["id"] for client in store.client.client_list()] == [mine], "all hung up")


_SENDS_ONLY = """
import asyncio, sys
from threadsync import AsyncSessionClient, SessionClient

with SessionClient(sys.argv[1], sys.argv[1]) as client:
    handle = client.get("C1", "1.1")
async def main():
    async with AsyncSessionClient(sys.argv[1], sys.argv[1]) as client:
        await client.get("C1", "1.1")
asyncio.run(main())
print([name for name in sys.modules if name.startswith("threadsync.broker.subscription")])
"""


def test_who_only_sends_loads_no_subscription(server: RedisServer, store: Store) -> None:
    """A process that only sends neither subscribes nor loads the modules for it."""
    argv = [sys.executable, "-c", _SENDS_ONLY, server.url()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr
    assert store.subscribers() == []

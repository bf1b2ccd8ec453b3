"""Sending to Valkey without kombu: one connection for threads, one for each event loop; deadlines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
import redis

from tests.support.bursts import commands_in
from tests.support.redis_servers import PASSWORD, RedisServer, SentinelSet
from tests.support.relay import Relay
from tests.support.tls import Authority, TlsFront
from tests.support.waiting import let_pass, wait_until
from tests.support.workers import ROOT
from threadsync import AsyncSessionClient, GetOrCreate, SessionClient, UpdateStatus, send_hooks
from threadsync.broker.deadline import GRACE_SECONDS, LONGEST_SILENCE_SECONDS
from threadsync.broker.direct.opening import Opener
from threadsync.errors import EnqueueFailed
from worker.local.servers.port import free_port

THREAD: Final[dict[str, Any]] = {"channel_id": "C1", "thread_ts": "1700000000.000100"}
MODES: Final = ("threads", "asyncio")
PROMISED_SECONDS: Final = LONGEST_SILENCE_SECONDS + GRACE_SECONDS + 0.3
"""The bound by the clock on the wall, which holds on a machine that is busy with other tests, too."""

Send = Callable[[], Awaitable[object]]


def command(number: int = 0) -> GetOrCreate:
    return GetOrCreate(channel_id="C1", thread_ts=f"1700000000.{number:06}", user_id="U1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "server") as server:
        yield server


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Both:
    """One client of either kind behind asyncio's methods."""

    def __init__(self, mode: str, url: str) -> None:
        kind: Any = SessionClient if mode == "threads" else AsyncSessionClient
        self.client = kind(url, url.rpartition(";")[2])
        self._in_thread = mode == "threads"

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        done = getattr(self.client, method)
        if self._in_thread:
            return await asyncio.to_thread(done, *args, **kwargs)
        return await done(*args, **kwargs)

    async def send(self, number: int = 0) -> None:
        await self.call("enqueue", command(number))

    async def __aenter__(self) -> Both:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.call("close")


def connections_of(server: RedisServer) -> set[str]:
    """Return the ids of the clients' connections, without the test's own."""
    with server.client() as admin:
        own = str(admin.client_id())
        return {seen["id"] for seen in admin.client_list(_type="normal")} - {own}


async def fails_in_time(action: Awaitable[object], match: str | None = None) -> None:
    began = time.monotonic()
    with pytest.raises(EnqueueFailed, match=match):
        await action
    assert time.monotonic() - began < PROMISED_SECONDS


@pytest.fixture(params=["a socket", "TLS", "a user with a prefix", "another database"])
def address(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, redis.Redis, str]]:
    """Yield an address of a server, a client of the test's own in that database, and the key prefix."""
    users = ["confined on >pw ~ts:* &ts:* +@all -@dangerous -info"]
    with RedisServer(tmp_path / "server", users=users) as server, ExitStack() as stack:
        if request.param == "a socket":
            yield server.socket_url(2), stack.enter_context(server.client(2)), ""
        elif request.param == "another database":
            yield server.url(3), stack.enter_context(server.client(3)), ""
        elif request.param == "TLS":
            (tmp_path / "tls").mkdir()
            authority = Authority(tmp_path / "tls")
            front = stack.enter_context(closing(TlsFront(authority.issue("front"), server.port)))
            url = f"rediss://:{PASSWORD}@127.0.0.1:{front.port}/1?{authority.query()}"
            yield url, stack.enter_context(server.client(1)), ""
        else:
            monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", '{"global_keyprefix": "ts:"}')
            yield server.url(user="confined:pw"), stack.enter_context(server.client()), "ts:"


async def test_over_every_kind_of_address(address: tuple[str, redis.Redis, str], mode: str) -> None:
    """Messages and events arrive over each kind of address, one by one, at once and many in a call."""
    url, admin, prefix = address
    untyped: Any = admin
    told = untyped.pubsub(ignore_subscribe_messages=True)
    with closing(told):
        told.psubscribe("*")
        async with Both(mode, url) as client:
            await client.send()
            await asyncio.gather(*(client.send(number) for number in range(16)))
            # More than a socket takes at once.
            await client.call("send_many", [command(number) for number in range(3_000)])
            await client.call("ping")
        assert admin.llen(f"{prefix}sessions") == 3_017
        event = next(heard for _ in range(50) if (heard := told.get_message(timeout=1)))
        database = admin.connection_pool.connection_kwargs["db"]
        assert event["channel"] == f"{prefix}/{database}.celeryev/task.sent"


async def test_a_frozen_broker_is_told_within_a_second(server: RedisServer, mode: str) -> None:
    """A send and a ping to a frozen broker fail within a second, and succeed when it goes on."""
    async with Both(mode, server.url()) as client:
        await client.send()
        server.freeze()
        await fails_in_time(client.send(1))
        await fails_in_time(client.call("ping"))
        await fails_in_time(client.call("send_many", [command(number) for number in range(200)]))
        server.thaw()
        await client.call("ping")
        await client.send(2)


async def test_a_connection_that_was_given_up_is_nobodys(
    server: RedisServer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command is not told of the end of a connection that was given up before it came."""
    really_open = Opener.open

    def open_late(opener: Opener, made: Callable[[Any], None]) -> Any:
        try:
            return really_open(opener, made)
        except Exception:
            # As on a busy machine, which wakes the thread late.
            let_pass(0.5)
            raise

    monkeypatch.setattr(Opener, "open", open_late)
    # Nothing but the deadline ends the first attempt.
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", '{"socket_timeout": 5}')
    async with Both(mode, server.url()) as client:
        server.freeze()
        await fails_in_time(client.send())
        server.thaw()
        await client.call("ping")


async def test_a_trickling_broker_is_told_within_a_second(server: RedisServer, mode: str) -> None:
    """A peer that sends a byte now and then keeps no caller longer than a second."""
    with Relay(server.port) as relay:
        async with Both(mode, f"redis://:{PASSWORD}@127.0.0.1:{relay.port}/0") as client:
            relay.trickles = True
            await fails_in_time(client.send())
            relay.trickles = False
            await until_it_succeeds(client.send)
            relay.trickles = True
            await fails_in_time(client.send(1))
            await fails_in_time(client.call("ping"))


async def until_it_succeeds(send: Send) -> None:
    for _ in range(20):
        with suppress(EnqueueFailed):
            await send()
            return
    raise AssertionError("it never succeeds")


async def test_a_connection_that_the_server_has_closed_is_replaced(server: RedisServer, mode: str) -> None:
    """A send after the server has closed the connection succeeds, on a new one."""
    async with Both(mode, server.url()) as client:
        for number in range(3):
            await client.send(number)
            with server.client() as admin:
                admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await client.call("ping")
    with server.client() as admin:
        assert admin.llen("sessions") == 3


async def test_a_lost_reply_is_asked_for_again(server: RedisServer, mode: str) -> None:
    """A send whose reply is lost with its connection is sent again, under the same id."""
    with Relay(server.port) as relay:
        async with Both(mode, f"redis://:{PASSWORD}@127.0.0.1:{relay.port}/0") as client:
            await client.send()
            relay.ends_after = b"LPUSH"
            sending = asyncio.ensure_future(client.send(1))
            with server.client() as admin:
                await asyncio.to_thread(wait_until, lambda: int(admin.llen("sessions")) >= 2, "it is there")
                relay.ends_after = None
                with suppress(EnqueueFailed):
                    await sending
                assert len(commands_in(admin)) == 2


async def test_a_server_that_became_a_replica_is_told(server: RedisServer, mode: str) -> None:
    """A server that was made a replica refuses, and the error says so; it is asked anew each time."""
    async with Both(mode, server.url()) as client:
        await client.send()
        with server.client() as admin:
            admin.replicaof("127.0.0.1", str(free_port()))
            await fails_in_time(client.send(1), "a replica, which takes no message")
            admin.replicaof("NO", "ONE")
        await client.send(2)


async def test_sentinels_name_the_new_master(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover the same client sends to the new master."""
    with SentinelSet(tmp_path / "set", replicas=1, sentinels=1) as servers:
        monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", json.dumps(servers.options))
        async with Both(mode, servers.url) as client:
            await client.send()
            former = servers.master
            with redis.Redis(port=servers.ports[0]) as sentinel:
                sentinel.execute_command("SENTINEL", "FAILOVER", servers.name)
            await asyncio.to_thread(wait_until, lambda: servers.master is not former, "another is master", 30)
            await until_it_succeeds(lambda: client.send(1))
            with servers.master.client() as admin:
                assert len(commands_in(admin)) >= 1


async def test_of_several_addresses_the_first_that_answers(server: RedisServer, mode: str) -> None:
    async with Both(mode, f"redis://127.0.0.1:{free_port()}/0;{server.url()}") as client:
        await client.send()
        await client.send(1)
    with server.client() as admin:
        assert admin.llen("sessions") == 2


async def test_a_wrong_password_is_told(server: RedisServer, mode: str) -> None:
    async with Both(mode, server.url(user=":wrong")) as client:
        await fails_in_time(client.send(), "refuses our password")


async def test_options_that_kombu_alone_knows_take_its_road(
    server: RedisServer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an option that changes where messages are put, kombu publishes as before."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", '{"priority_steps": [0, 5]}')
    async with Both(mode, server.url()) as client:
        await client.send()
        handles = await client.call("send_many", [command(1), command(2)])
        await client.call("ping")
        assert client.client._broker._direct is None
    with server.client() as admin:
        assert {handle.task_id for handle in handles} < commands_in(admin)
        assert admin.llen("sessions") == 3


# --- Many commands in one call


async def test_many_commands_are_in_the_queue_in_order(server: RedisServer, mode: str) -> None:
    """Handles come in the order of the commands, which is that of their messages; all have an event."""
    commands = [command(number) for number in range(150)]
    async with Both(mode, server.url()) as client:
        with server.client() as admin:
            admin.config_resetstat()
            handles = await client.call("send_many", commands)
            stored: Any = admin.lrange("sessions", 0, -1)
            counted = admin.info("commandstats")
            assert counted["cmdstat_publish"]["calls"] == 150
        assert await client.call("send_many", []) == []
    assert [json.loads(text)["headers"]["id"] for text in reversed(stored)] == [
        handle.task_id for handle in handles
    ]
    assert [handle.command for handle in handles] == commands


async def test_each_queue_is_made_known_once(server: RedisServer, mode: str) -> None:
    """kombu's tables name each queue that a connection has sent to, as a stock client would write them."""
    async with Both(mode, server.url()) as client:
        with server.client() as admin:
            for _ in range(2):
                await client.call("send_many", [command(), UpdateStatus(**THREAD, status="collecting")])
                await client.call("retry_sync", "0" * 32, "ann", "to see")
            assert admin.info("commandstats")["cmdstat_sadd"]["calls"] == 4
            for queue in ("sessions", "syncs"):
                for table in ("binding", "binding_permanent"):
                    assert admin.smembers(f"_kombu.{table}.{queue}") == {f"{queue}\x06\x16\x06\x16{queue}"}


async def test_how_many_are_confirmed_is_told(server: RedisServer, mode: str) -> None:
    """A broker that fills up in between refuses the rest; the error counts those that it has surely."""
    async with Both(mode, server.url()) as client:
        await client.send()
        with server.client() as admin:
            used = int(admin.info("memory")["used_memory"])
            admin.config_set("maxmemory", str(used + 1_000_000))
            with pytest.raises(EnqueueFailed, match="full") as refused:
                await client.call("send_many", [command(number) for number in range(5_000)])
            assert 0 < refused.value.confirmed < 5_000
            assert int(admin.llen("sessions")) >= refused.value.confirmed
            admin.config_set("maxmemory", "0")
        await client.send(1)


async def test_a_hook_runs_around_each_of_many(
    server: RedisServer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook is entered for each command, may add a header, and is left when the broker has the message."""
    told: list[str] = []

    @contextmanager
    def traced(task: str, headers: dict[str, Any]) -> Iterator[None]:
        headers["traceparent"] = headers["id"]
        yield
        with server.client() as admin:
            told.append(f"{task} {len(commands_in(admin))}")

    monkeypatch.setattr(send_hooks, "HOOKS", [traced])
    async with Both(mode, server.url()) as client:
        await client.call("send_many", [command(), command(1)])
    with server.client() as admin:
        stored: Any = admin.lrange("sessions", 0, -1)
    headers = [json.loads(text)["headers"] for text in stored]
    assert told == ["sessions.get_or_create 2"] * 2
    assert all(header["traceparent"] == header["id"] for header in headers)


# --- Processes, threads and event loops


def in_child(action: Callable[[], object]) -> int:
    """Run it in a child of ``os.fork``; return the exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_while_threads_send(server: RedisServer) -> None:
    """A child that is forked while other threads send works on a connection of its own, and so they do."""
    over = threading.Event()
    failures: list[Exception] = []

    def send_on() -> None:
        while not over.is_set():
            try:
                client.enqueue(command())
            except Exception as exc:  # noqa: BLE001 - all are counted
                failures.append(exc)

    with SessionClient(server.url(), server.url()) as client, ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(send_on)
        codes = [in_child(lambda: client.enqueue(command())) for _ in range(5)]
        over.set()
    assert (codes, failures) == ([0] * 5, [])


def test_a_fork_of_a_process_with_an_event_loop(server: RedisServer) -> None:
    """A child has an event loop and a connection of its own; the parent's goes on."""
    client = AsyncSessionClient(server.url(), server.url())

    async def send() -> None:
        await client.enqueue(command())

    with asyncio.Runner() as runner:
        runner.run(send())
        assert in_child(lambda: asyncio.Runner().run(send())) == 0
        runner.run(send())
        runner.run(client.close())
    with server.client() as admin:
        assert admin.llen("sessions") == 3


def test_one_event_loop_after_the_other(server: RedisServer) -> None:
    """Each event loop has a connection of its own; that of a closed one is closed too."""
    client = AsyncSessionClient(server.url(), server.url())

    async def send() -> int:
        await client.enqueue(command())
        return len(connections_of(server))

    connections = [asyncio.run(send()) for _ in range(4)]
    asyncio.run(client.close())
    assert connections == [1] * 4


def test_event_loops_in_several_threads(server: RedisServer) -> None:
    """Event loops of several threads send by one client at once."""
    client = AsyncSessionClient(server.url(), server.url())

    async def send(part: int) -> None:
        await asyncio.gather(*(client.enqueue(command(part * 50 + number)) for number in range(50)))
        await client.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(asyncio.run, send(part)) for part in range(4)]:
            done.result()
    with server.client() as admin:
        assert len(commands_in(admin)) == 200


async def test_a_cancelled_send_leaves_its_reply_to_none(server: RedisServer) -> None:
    """Sends that are cancelled while they wait take no reply from those after them, and no connection."""
    async with AsyncSessionClient(server.url(), server.url()) as client:
        await client.ping()
        before = connections_of(server)
        server.freeze()
        sends = [asyncio.ensure_future(client.enqueue(command(number))) for number in range(100)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for send in sends:
            send.cancel()
        later = asyncio.ensure_future(client.send_many([command(1_000 + number) for number in range(100)]))
        server.thaw()
        assert [type(outcome) for outcome in await asyncio.gather(*sends, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 100
        handles = await later
        await client.ping()
        with server.client() as admin:
            assert {handle.task_id for handle in handles} <= commands_in(admin)
        assert connections_of(server) == before


async def test_a_client_that_is_closed_fails_what_it_sends(server: RedisServer) -> None:
    """A send that waits when its client is closed fails, and says why; the client can be used again."""
    client = AsyncSessionClient(server.url(), server.url())
    await client.ping()
    server.freeze()
    send = asyncio.ensure_future(client.enqueue(command()))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(EnqueueFailed, match="closed before the broker had the message"):
        await send
    server.thaw()
    await client.ping()
    await client.close()


class TimeLimit(Exception):
    """An exception that a signal raises, as Celery's soft time limit."""


@pytest.mark.parametrize("raised", [TimeLimit, KeyboardInterrupt])
def test_an_interrupted_thread_leaves_the_others_their_turn(
    server: RedisServer, raised: type[BaseException]
) -> None:
    """A thread that is interrupted in the midst of a send for several raises that, and hands its turn on."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise raised

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        with SessionClient(server.url(), server.url()) as client, ThreadPoolExecutor(8) as pool:
            client.ping()
            server.freeze()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(raised):
                client.enqueue(command())
            sends = [pool.submit(client.enqueue, command(number)) for number in range(8)]
            server.thaw()
            for send in sends:
                send.result()
            client.ping()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def test_many_threads_share_a_connection(server: RedisServer) -> None:
    """Threads that send at once share one connection, and each has its own reply."""
    with SessionClient(server.url(), server.url()) as client, ThreadPoolExecutor(32) as pool:
        handles = list(pool.map(lambda number: client.enqueue(command(number)), range(1_000)))
        with server.client() as admin:
            assert len(connections_of(server)) == 1
            assert commands_in(admin) == {handle.task_id for handle in handles}


_LOADED: Final = """
import asyncio, sys
from threadsync import AsyncSessionClient, GetOrCreate, SessionClient

command = GetOrCreate(channel_id="C1", thread_ts="1.1", user_id="U1")
with SessionClient() as client:
    client.ping()
    client.enqueue(command)
    client.send_many([command] * 3)

async def main():
    async with AsyncSessionClient() as client:
        await client.ping()
        await client.enqueue(command)
        await client.send_many([command] * 3)

asyncio.run(main())
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"kombu", "amqp", "vine", "celery", "billiard"}))
"""


def test_sending_loads_no_kombu(broker_url: str) -> None:
    """A process that sends by both clients loads neither kombu nor Celery nor what they need."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        env={**os.environ, "CELERY_BROKER_URL": broker_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")

"""Replies that must match their commands (threadsync/broker/in_step.py), on a real Valkey."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from threadsync.broker.in_step import in_step
from threadsync.sending import Broker
from worker.durable.connection import DurableConnection
from worker.durable.results import WorkersCelery

LATE = 0.3
"""Seconds until the server replies, so that the reply is missing when the connection is used again."""


class OneSentinel:
    """A Sentinel that knows the master's address."""

    def __init__(self, url: str) -> None:
        self._address = (urlsplit(url).hostname, urlsplit(url).port)

    def discover_master(self, _name: str) -> Any:
        return self._address


def of_a_pool(url: str) -> redis.Redis:
    return redis.Redis(
        connection_pool=redis.ConnectionPool.from_url(url, connection_class=in_step(redis.Connection))
    )


def of_a_sentinel(url: str) -> redis.Redis:
    made: Any = SentinelConnectionPool
    pool = made(
        "master",
        OneSentinel(url),
        connection_class=in_step(SentinelManagedConnection),
        db=int(urlsplit(url).path[1:]),
        password=urlsplit(url).password,
    )
    return redis.Redis(connection_pool=pool)


def of_a_channel(url: str) -> Any:
    channel: Any = DurableConnection(url).default_channel
    return channel._create_client()


def of_a_result_backend(url: str) -> Any:
    backend: Any = WorkersCelery(backend=url, set_as_current=False).backend
    return backend.client


def of_a_session_client(url: str) -> Any:
    backend: Any = Broker(url)._backend()
    return backend.client


@pytest.fixture(params=[of_a_pool, of_a_sentinel, of_a_channel, of_a_result_backend, of_a_session_client])
def client(request: pytest.FixtureRequest, broker_url: str) -> Iterator[Any]:
    """Yield each of our clients on one connection, to a server whose key ``own:<n>`` holds ``n``."""
    make: Callable[[str], Any] = request.param
    client = make(broker_url)
    for number in range(8):
        client.set(f"own:{number}", number)
    yield client
    client.connection_pool.disconnect()


def answers_are_right(client: Any) -> bool:
    return all(client.get(f"own:{number}") == str(number).encode() for number in range(8))


def interrupt_at(client: Any, command: str) -> None:
    """Raise the time limit's exception once, after the reply to the command has been read."""

    def interrupted(reply: Any, **_: Any) -> Any:
        del client.response_callbacks[command]
        raise SoftTimeLimitExceeded

    client.response_callbacks[command] = interrupted


def test_a_pipeline_that_is_cut_off_leaves_no_reply_behind(client: Any) -> None:
    """A pipeline cut off by a time limit leaves no reply for the next command."""
    interrupt_at(client, "GET")
    with pytest.raises(SoftTimeLimitExceeded), client.pipeline(transaction=False) as pipe:
        pipe.get("own:1").blpop(["nothing"], LATE).get("own:2").execute()
    assert answers_are_right(client)


def test_a_transaction_that_is_cut_off_leaves_no_reply_behind(client: Any) -> None:
    """A transaction cut off by a time limit leaves no reply for the next command."""
    interrupt_at(client, "_")  # redis-py's name for the replies around the commands
    with pytest.raises(SoftTimeLimitExceeded), client.pipeline() as pipe:
        pipe.get("own:1").get("own:2").execute()
    assert answers_are_right(client)


def test_a_reply_that_nobody_reads_is_not_the_next_ones(client: Any) -> None:
    """A connection released before its reply was read gives the next command the right reply."""
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.send_command("BLPOP", "nothing", LATE)
    pool.release(connection)
    assert answers_are_right(client)


def test_a_time_out_in_mid_reply_hangs_up(client: Any) -> None:
    """A time-out in the middle of a reply closes the connection, so that the next reply is the right one."""
    pool = client.connection_pool
    connection = pool.get_connection()
    connection.send_command("BLPOP", "nothing", LATE)
    with pytest.raises(redis.TimeoutError):
        connection.read_response(timeout=0.05)
    pool.release(connection)
    assert answers_are_right(client)


def test_a_refusal_keeps_the_connection(client: Any) -> None:
    """An error of the server keeps the connection open."""
    before = client.client_id()
    client.set("text", "no number")
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            client.incr("text")
    with client.pipeline() as pipe, pytest.raises(redis.ResponseError):
        pipe.incr("text").get("own:1").execute()
    assert client.client_id() == before
    assert answers_are_right(client)


def test_a_listener_is_owed_nothing(client: Any) -> None:
    """A subscription receives its messages and leaves the client's replies right."""
    with client.pubsub() as listener:
        listener.subscribe("news")
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        client.publish("news", "first")
        assert listener.get_message(timeout=5)["data"] in (b"first", "first")
        assert listener.get_message(timeout=0) is None
    assert answers_are_right(client)


_SHORT_OF_MEMORY = """
import resource, sys
import psutil, redis
from threadsync.broker.in_step import in_step

url, protocol = sys.argv[1], int(sys.argv[2])
client = redis.Redis(
    connection_pool=redis.ConnectionPool.from_url(
        url, connection_class=in_step(redis.Connection), protocol=protocol
    )
)
client.set("own", 1)
client.setrange("large", 100_000_000, "x")
script = "return {1, redis.call('GET', 'large')}"
for ask in (lambda: client.get("large"), lambda: client.eval(script, 0), lambda: client.mget("own", "large")):
    limit = psutil.Process().memory_info().vms + 40_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        ask()
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("no memory, then", client.get("own").decode())
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_reply_without_room_is_a_memory_error(protocol: int, broker_url: str) -> None:
    """A reply that does not fit in memory raises MemoryError, and the next reply is the right one."""
    asked = [sys.executable, "-c", _SHORT_OF_MEMORY, broker_url, str(protocol)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["no memory, then 1"] * 3, done.stderr


_A_LISTENER_SHORT_OF_MEMORY = """
import resource, sys
import psutil, redis
from threadsync.broker.in_step import in_step

url, protocol = sys.argv[1], int(sys.argv[2])
sender = redis.Redis.from_url(url)
pool = redis.ConnectionPool.from_url(url, connection_class=in_step(redis.Connection), protocol=protocol)
listener = redis.Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
listener.subscribe("channel")
listener.get_message(timeout=10)
sender.publish("channel", bytes(30_000_000))  # a listener is hung up on beyond 32 MB
limit = psutil.Process().memory_info().vms + 8_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    listener.get_message(timeout=10)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    listener.get_message(timeout=10)
    sender.publish("channel", b"the next one")
    while (heard := listener.get_message(timeout=10)) is None:
        pass
    print("no memory, then", heard["data"].decode())
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_listener_without_room_for_a_message_hears_the_next(protocol: int, broker_url: str) -> None:
    """A subscription skips a message that does not fit in memory and receives the next one."""
    asked = [sys.executable, "-c", _A_LISTENER_SHORT_OF_MEMORY, broker_url, str(protocol)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["no memory, then the next one"], done.stderr

"""The channel over every kind of connection: TLS, ACL user, prefix, socket, failover, sentinels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu import Consumer as KombuConsumer
from kombu.exceptions import OperationalError

from tests.support.installation import Installation
from tests.support.sentinel import Watched, sentinel_over
from tests.support.servers import VALKEY_SETTINGS
from tests.support.tls import Authority, Certificate, TlsFront
from tests.support.transport_peer import Peer, places, publish, sweep
from tests.support.waiting import wait_until
from threadsync.broker.options import broker_options
from threadsync.config import Settings
from worker.durable.transport import DurableChannel
from worker.local.servers.port import free_port
from worker.local.servers.valkey import EmbeddedValkey

PREFIX = "ts:"
ACL_USER = [
    "on",
    ">pw",
    f"~{PREFIX}*",
    f"&{PREFIX}*",
    # PSUBSCRIBE needs the exact patterns: those of remote control, other workers' events and Flower's.
    *(f"&{PREFIX}/0.{topic}" for topic in ("celery.pidbox", "celeryev/worker.*", "celeryev/*")),
    "-@all",
    *("+ping", "+select", "+client|setinfo"),
    *("+eval", "+time", "+lindex", "+rpop", "+lpush", "+rpush", "+llen", "+blmove", "+del"),
    *("+hset", "+hget", "+hdel", "+hincrby", "+zadd", "+zrem", "+zrange", "+zrangebyscore"),
    *("+sadd", "+srem", "+smembers", "+exists", "+evalsha", "+script|load", "+script|exists"),
    *("+multi", "+exec", "+discard", "+watch", "+unwatch"),
    *("+publish", "+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe"),
]
"""The rights that a worker and a stock producer need."""


class Worker(Peer):
    """A peer with Celery's own connection for a worker, which connects again after a break."""

    def __init__(self, url: str, prefetch: int = 0, **options: Any) -> None:
        self.got = []
        self._prefetch = prefetch
        self._app = Celery(broker=url, amqp="worker.durable.connection:DurableAMQP", set_as_current=False)
        self._app.conf.update(broker_options(url, Settings(), "worker"))
        self._app.conf.broker_transport_options = {
            "visibility_timeout": 3600,
            "unacked_restore_throttle": 1,
            **options,
        }
        self.breaks = 0
        self._begin()

    def _begin(self) -> None:
        self.connection = self._app.connection_for_read()
        self.connection.ensure_connection(max_retries=50, interval_start=0, interval_step=0, interval_max=0.1)
        self.channel = self.connection.channel()
        self.channel.basic_qos(0, self._prefetch, False)
        self._consumer = KombuConsumer(
            self.channel, [Queue("q")], on_message=self.got.append, accept=["json", "application/data"]
        )
        self._consumer.consume()

    def _drain(self) -> None:
        try:
            super()._drain()
        except self.connection.connection_errors:
            self.breaks += 1
            self.vanish()
            self._begin()

    def turn(self) -> list[Any]:
        """Drain the connection once, and return the payloads of all messages so far."""
        self._drain()
        return [message.payload for message in self.got]

    @property
    def has_our_channel(self) -> bool:
        return isinstance(self.channel, DurableChannel)


Connect = Callable[..., Worker]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Yield a function that connects a worker, and end all workers afterwards."""
    workers: list[Worker] = []

    def make(url: str, **options: Any) -> Worker:
        workers.append(Worker(url, **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.vanish()


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """Start a server on a port and a socket, for all tests of this module."""
    directory = tmp_path_factory.mktemp("v")
    server = EmbeddedValkey(
        directory / "d",
        settings={**VALKEY_SETTINGS, "unixsocket": f'"{directory / "s"}"', "unixsocketperm": "700"},
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def own(listening: EmbeddedValkey) -> EmbeddedValkey:
    """Return the module's server, emptied."""
    with redis.Redis.from_url(listening.url) as client:
        client.flushall()
        client.config_resetstat()
    return listening


def as_user(url: str, user: str) -> str:
    """Return the URL for another user, whose password is `pw`."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:pw@{parts.hostname}:{parts.port}"))


def take_vanish_restore(url: str, connect: Connect, **options: Any) -> None:
    """Check that two of three messages left by a killed worker are restored to the next one."""
    first = connect(url, prefetch=3, **options)
    assert first.has_our_channel
    one, *_ = first.take(3)
    one.ack()
    first.vanish()
    second = connect(url, **options)
    sweep(second)
    again = second.take(2)
    assert {message.payload for message in again} == {2, 3}
    assert all(message.delivery_info["redelivered"] for message in again)
    for message in again:
        message.ack()


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("broker")


@pytest.fixture
def tls(certificate: Certificate, own: EmbeddedValkey) -> Iterator[TlsFront]:
    front = TlsFront(certificate, own.port)
    yield front
    front.close()


def test_tls_with_an_authority_of_ones_own(
    tls: TlsFront, authority: Authority, own: EmbeddedValkey, connect: Connect
) -> None:
    """A worker and a stock producer connect by TLS with the authority named in the URL."""
    url = f"rediss://:{own.password}@127.0.0.1:{tls.port}/0?{authority.query()}"
    publish(url + "&ssl_cert_reqs=required", 1, 2, 3)
    take_vanish_restore(url, connect)
    assert tls.accepted >= 3
    assert tls.refused == 0


def test_an_untrusted_certificate_is_refused(tls: TlsFront, own: EmbeddedValkey, connect: Connect) -> None:
    """A certificate of an unknown authority is refused before the password is sent."""
    url = f"rediss://:{own.password}@127.0.0.1:{tls.port}/0"
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(url)
    assert tls.accepted == 0


# --- A user of its own, a prefix of its own


@pytest.fixture
def neighbours(own: EmbeddedValkey) -> Iterator[redis.Redis]:
    """Put a neighbour's queue of the same name on the server, and create an ACL user for the prefix."""
    with redis.Redis.from_url(own.url, decode_responses=True) as server:
        server.lpush("q", "somebody else's")
        server.hset("unacked", "tag", "somebody else's")
        server.execute_command("ACL", "SETUSER", "confined", "reset", *ACL_USER)
        server.acl_log_reset()
        yield server
        server.acl_deluser("confined")


def assert_only_the_prefix_was_touched(server: redis.Redis) -> None:
    assert server.acl_log() == []
    assert {key for key in server.scan_iter() if not key.startswith(PREFIX)} == {"q", "unacked"}
    assert (server.lrange("q", 0, -1), server.hgetall("unacked")) == (
        ["somebody else's"],
        {"tag": "somebody else's"},
    )


def stock_producer(url: str, *bodies: Any) -> None:
    """Publish the bodies by a stock Celery client with the prefix."""
    with Celery(broker=url, set_as_current=False) as client:
        client.conf.broker_transport_options = {"global_keyprefix": PREFIX}
        with client.connection_for_write() as connection:
            for body in bodies:
                connection.Producer().publish(body, routing_key="q", serializer="json")


def test_a_user_that_is_confined_to_the_prefix(
    neighbours: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """A user confined to the prefix can do all that a worker does, and touches nothing else."""
    url = as_user(own.url, "confined")
    stock_producer(url, 1, 2, 3)
    take_vanish_restore(url, connect, global_keyprefix=PREFIX)
    idle = connect(url, global_keyprefix=PREFIX)
    idle.look()
    calls = neighbours.info("commandstats")
    assert calls["cmdstat_blmove"]["rejected_calls"] == 0
    assert_only_the_prefix_was_touched(neighbours)
    assert [neighbours.exists(f"{PREFIX}{key}") for key in ("q", "unacked", "unacked_index")] == [0, 0, 0]


def test_notes_and_counts_carry_the_prefix(
    neighbours: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """Notes and counts have the prefix, so installations do not restore each other's messages."""
    url = as_user(own.url, "confined")
    stock_producer(url, "kept")
    worker = connect(url, global_keyprefix=PREFIX)
    worker.take()[0].requeue()
    worker.take()
    assert neighbours.hlen(f"{PREFIX}unacked") == neighbours.zcard(f"{PREFIX}unacked_index") == 1
    assert neighbours.hlen(f"{PREFIX}unacked_deliveries") == 1
    assert_only_the_prefix_was_touched(neighbours)


def test_a_confined_user_hears_remote_control(
    neighbours: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """A user confined to the prefix receives remote control."""
    url = as_user(own.url, "confined")
    worker = connect(url, global_keyprefix=PREFIX)
    pidbox = Exchange("celery.pidbox", type="fanout", durable=False)
    control = KombuConsumer(
        worker.channel,
        [Queue("a.pidbox", pidbox, durable=False, auto_delete=True)],
        on_message=worker.got.append,
    )
    control.consume()
    worker.look()
    with Connection(url, transport_options={"global_keyprefix": PREFIX}) as connection:
        connection.Producer().publish("ping", exchange=pidbox, declare=[pidbox], serializer="json")
    assert worker.take()[0].payload == "ping"
    assert_only_the_prefix_was_touched(neighbours)


# --- A server that steps down


@pytest.fixture
def server(own: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.url, decode_responses=True) as server:
        yield server
        server.replicaof("NO", "ONE")


def blocked(server: redis.Redis) -> list[int]:
    """Return the ids of the connections that wait for a message."""
    return [int(client["id"]) for client in server.client_list() if "b" in client["flags"]]


def wait_until_it_waits(worker: Worker, server: redis.Redis) -> list[int]:
    """Wait until the worker waits for a message, and return the ids of its waiting connections."""

    def waits() -> list[int]:
        worker.turn()
        return blocked(server)

    wait_until(waits, "it waits for a message")
    return blocked(server)


def test_unblocked_in_the_middle_of_a_wait(
    server: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """A worker whose wait ends with `UNBLOCKED` waits again on the same connection."""
    worker = connect(own.url)
    for number in range(2):
        (waiting,) = wait_until_it_waits(worker, server)
        assert server.client_unblock(waiting, error=True)
        publish(own.url, number)
        assert worker.take()[0].payload == number
    assert worker.breaks == 0
    assert places(server) == (0, 2, 2)


def test_a_master_that_becomes_a_replica_and_a_master_again(
    server: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """A worker whose master becomes a replica and a master again loses nothing and repeats its acks."""
    publish(own.url, "ended", "given back", "held")
    worker = connect(own.url)
    ended, given_back, held = worker.take(3)
    wait_until_it_waits(worker, server)
    server.replicaof("127.0.0.1", 1)
    ended.ack()
    given_back.requeue()
    refused = server.info("stats")["total_error_replies"]
    worker.turn()
    worker.turn()
    assert server.info("stats")["total_error_replies"] - refused < 20
    server.replicaof("NO", "ONE")
    publish(own.url, "new")
    assert worker.take()[0].payload == "new"
    assert worker.breaks == 0
    sweep(worker)
    taken = {message.payload for message in worker.take(2)}
    assert "given back" in taken
    assert "ended" not in taken
    held.ack()


def test_a_worker_process_lives_through_a_failover(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """A worker process outlives a failover and carries out every later command."""
    installation = Installation(database_url, own_valkey.url, tmp_path)
    with (
        contextlib.closing(installation),
        installation.worker() as worker,
        redis.Redis.from_url(own_valkey.url, decode_responses=True) as server,
    ):
        wait_until(lambda: blocked(server), "it waits for a message")
        server.replicaof("127.0.0.1", 1)
        wait_until(lambda: "broker refused" in worker.log, "it has heard of it")
        server.replicaof("NO", "ONE")
        for number in range(10):
            installation.send("sessions.get_or_create", user_id="U1", **_session(number))
        wait_until(lambda: len(installation.sessions()) == 10, "each has its row", 20)
        wait_until(lambda: installation.waiting() == 0, "all have ended", 20)
        assert worker.is_alive
        assert worker.log.count(" ready.") == 1
        assert worker.log.count("broker refused") < 20


def _session(number: int) -> dict[str, str]:
    return {"channel_id": "C1", "thread_ts": f"1700000000.{number:06}"}


# --- Sockets, lists, sentinels


def test_a_unix_socket(own: EmbeddedValkey, connect: Connect) -> None:
    """A worker connects by `redis+socket://` with our channel."""
    url = f"redis+socket://:{own.password}@{own.log_path.parent.parent / 's'}"
    publish(url, 1, 2, 3)
    take_vanish_restore(url, connect)
    with redis.Redis.from_url(own.url) as server:
        assert places(server) == (0, 0, 0)


def test_the_next_url_of_a_list(own: EmbeddedValkey, connect: Connect) -> None:
    """A worker uses the second URL of a list when the first server is away."""
    publish(own.url, 1, 2, 3)
    take_vanish_restore(f"redis://127.0.0.1:{free_port()}/0;{own.url}", connect)


def test_the_next_url_of_a_list_with_tls(
    tls: TlsFront, authority: Authority, own: EmbeddedValkey, connect: Connect
) -> None:
    """A worker uses the second URL of a list by TLS, with its certificate checked."""
    publish(own.url, 1, 2, 3)
    trust = f"{authority.query()}"
    away = f"rediss://127.0.0.1:{free_port()}/0?{trust}"
    take_vanish_restore(f"{away};rediss://:{own.password}@127.0.0.1:{tls.port}/0?{trust}", connect)


@pytest.fixture
def watched(own: EmbeddedValkey, tmp_path: Path) -> Iterator[Watched]:
    with sentinel_over(own, tmp_path, 30_000) as watched:
        yield watched
    with redis.Redis.from_url(own.url) as master:
        master.replicaof("NO", "ONE")


def test_sentinels_name_the_master(
    watched: Watched, server: redis.Redis, own: EmbeddedValkey, connect: Connect
) -> None:
    """A worker follows its sentinels to the new master, where its notes are too."""
    # The second sentinel is not running.
    url = ";".join(f"sentinel://:{own.password}@127.0.0.1:{there}/0" for there in (watched.port, free_port()))
    options = {"master_name": "broker"}
    with Connection(url, transport_options=options) as producer:
        for body in ("one", "two"):
            producer.Producer().publish(body, routing_key="q", serializer="json")
    worker = connect(url, **options)
    assert worker.has_our_channel
    worker.take(2)
    assert server.wait(1, 5000) == 1
    former = watched.master()
    wait_until(lambda: _fails_over(watched.client), "the sentinel agrees to fail over")
    wait_until(
        lambda: worker.turn() and watched.master() != former,
        "there is another master",
        20,
    )
    # The sentinel would do this itself after 8 s.
    server.replicaof(*watched.master())
    with Connection(url, transport_options=options) as producer:
        producer.Producer().publish("new", routing_key="q", serializer="json")
    wait_until(lambda: "new" in worker.turn(), "it goes on", 20)
    assert worker.has_our_channel
    wait_until(lambda: _sweeps(worker), "what was held is given back")
    assert {"one", "two"} <= {message.payload for message in worker.take(2)}


def _sweeps(worker: Worker) -> bool:
    """Run a sweep, and return False if it met the failover."""
    try:
        sweep(worker)
    except redis.ConnectionError:
        return False
    return True


def _fails_over(sentinel: redis.Redis) -> bool:
    with contextlib.suppress(redis.ResponseError):
        return bool(sentinel.sentinel_failover("broker"))
    return False

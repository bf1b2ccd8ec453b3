"""Channels and connections on which "sent" means "the broker has it".

Everything that publishes uses them: the client, the worker, beat, the CLI, the doctor.
``worker.durable.connection`` adds how a worker takes messages.

| broker | a message is sent when |
|---|---|
| Valkey, Redis | the server has answered LPUSH, and ``BROKER_WAIT_REPLICAS`` replicas have it (WAIT) |
| RabbitMQ | it has confirmed it, and did not return it for want of a queue |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Final

import redis
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis
from kombu.utils.collections import HashedSeq
from kombu.utils.json import dumps

from threadsync.broker.cluster import refuse_cluster
from threadsync.broker.in_step import in_step, is_unwritable, sentinel_limits
from threadsync.broker.installation import IdentifiedChannel, OthersBroker
from threadsync.broker.messages import shortfall
from threadsync.broker.ownership import OthersConnection
from threadsync.broker.rabbitmq import ConfirmingSSLTransport, ConfirmingTransport

_ENTRY_PARTS: Final = 3
"""Number of parts of an entry in an exchange's table: routing key, pattern, queue."""

_LONGEST_CONNECT_SECONDS: Final = 10.0


class NotReplicated(OperationalError):
    """Failure of a publish: the broker has the message, and too few of its replicas have."""


def _answering(client: Any) -> Any:
    """Count a server that cannot write to its disk as present: it refuses PING too (MISCONF)."""
    ping = client.ping

    def answered(**kwargs: Any) -> Any:
        try:
            return ping(**kwargs)
        except redis.ResponseError as exc:
            if not is_unwritable(exc):
                raise
            return True

    client.ping = answered
    return client


def _without_transactions(client: Any) -> Any:
    """Turn off transactions in kombu's pipelines: a full Redis 7.0 refuses all commands of one, reads too."""
    with_transactions = client.pipeline

    def pipeline(transaction: bool = False, shard_hint: Any = None) -> Any:
        return with_transactions(transaction, shard_hint)

    client.pipeline = pipeline
    return client


class ProducerChannel(IdentifiedChannel):
    """A channel that publishes; with ``wait_replicas`` it returns when so many replicas have the message."""

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "wait_replicas", "wait_seconds")
    deliveries_key = "unacked_deliveries"
    wait_replicas: int = 0
    wait_seconds: float = 0

    # kombu's own, which the stubs do not know.
    _q_for_pri: Callable[[str, int], str]
    keyprefix_queue: str
    sep: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._bookkeeper: Any = None
        super().__init__(*args, **kwargs)
        with self.conn_or_acquire() as client:
            refuse_cluster(client)

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        kombus: Any = super()
        params: dict[str, Any] = kombus._connparams(asynchronous)
        return {**params, "connection_class": in_step(params["connection_class"])}

    def _create_client(self, asynchronous: bool = False) -> Any:
        kombus: Any = super()
        return _answering(kombus._create_client(asynchronous))

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield a client on this channel's pool. kombu makes one each time, slower than a command."""
        if client is None and (self.connection is None or self.connection.client is None):
            # Closed; or Celery 5.7 has taken the address away first, and hands messages back then.
            raise redis.ConnectionError("the connection to the broker is closed")
        if client is None:
            # After a fork and a failover the pool is another one.
            if self._bookkeeper is None or self._bookkeeper.connection_pool is not self.pool:
                self._bookkeeper = _without_transactions(self._create_client())
            client = self._bookkeeper
        yield client

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Return the exchange's queues, without invalid entries, which would fail each publish."""
        with self.conn_or_acquire() as client:
            members = client.smembers(self.keyprefix_queue % exchange)
        entries = (member.decode("utf-8", "replace").split(self.sep) for member in members)
        return [(entry[0], entry[1], entry[2]) for entry in entries if len(entry) == _ENTRY_PARTS]

    def run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script now; ``keys`` follow the three of unacknowledged messages."""
        with self.conn_or_acquire() as client:
            return client.execute_command(*self._script_command(script, keys, arguments))

    def _script_command(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
        # EVAL and not EVALSHA: a server that was restarted has forgotten every script.
        fixed = (self.unacked_key, self.unacked_index_key, self.deliveries_key)
        prefixed = [f"{self.global_keyprefix}{key}" for key in (*fixed, *keys)]
        return ("EVAL", script, len(prefixed), *prefixed, *arguments)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        if not self.wait_replicas:
            super()._put(queue, message, **kwargs)
            return
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        # Down one connection, because WAIT speaks of what was written on its own.
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            pipe.lpush(key, dumps(message))
            pipe.execute_command("WAIT", self.wait_replicas, int(self.wait_seconds * 1000))
            *_, replicas = pipe.execute()
        if replicas < self.wait_replicas:
            raise NotReplicated(shortfall(replicas, self.wait_replicas, self.wait_seconds))


class ProducerSentinelChannel(ProducerChannel, kombu_redis.SentinelChannel):
    """``ProducerChannel`` on the master that the sentinels name."""

    from_transport_options = tuple(
        dict.fromkeys(
            (*ProducerChannel.from_transport_options, *kombu_redis.SentinelChannel.from_transport_options)
        )
    )
    sentinel_kwargs: dict[str, Any] | None = None

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        kombus: Any = super()
        self.sentinel_kwargs = sentinel_limits(self.sentinel_kwargs, self._connparams())
        return kombus._sentinel_managed_pool(asynchronous)


class ProducerTransport(kombu_redis.Transport):
    """Transport for Redis and Valkey."""

    Channel = ProducerChannel


class ProducerSentinelTransport(kombu_redis.SentinelTransport):
    """Transport for ``sentinel://``."""

    Channel = ProducerSentinelChannel


class ProducerConnection(Connection):
    """kombu's connection, with our transports in place of its own.

    The setting ``broker_transport`` does not do: for ``redis+socket://``, and when it goes on to the next URL
    of a list, kombu takes the transport from the URL.
    """

    kind: ClassVar[str] = "threadsync.producer"
    transports: ClassVar[Mapping[type, type]] = {
        kombu_redis.Transport: ProducerTransport,
        kombu_redis.SentinelTransport: ProducerSentinelTransport,
        pyamqp.Transport: ConfirmingTransport,
        pyamqp.SSLTransport: ConfirmingSSLTransport,
    }

    def get_transport_cls(self) -> type[Any]:
        found = super().get_transport_cls()
        return self.transports.get(found, found)

    def _connection_factory(self) -> Any:
        """Connect. Raises ``OthersBroker``, which is not retried, at another installation's broker."""
        kombus: Any = super()
        try:
            return kombus._connection_factory()
        except OthersConnection as exc:
            raise OthersBroker(str(exc)) from exc

    def ensure(  # type: ignore[override]  # all else goes on as it is
        self, obj: Any, fun: Any, errback: Any = None, max_retries: int | None = None, **options: Any
    ) -> Any:
        """Retry as kombu does, but once by default, where kombu would go on for ever."""
        tries = 1 if max_retries is None else max_retries
        return super().ensure(obj, fun, errback, tries, **options)

    def _ensure_connection(
        self, errback: Any = None, max_retries: int | None = None, *args: Any, **options: Any
    ) -> Any:
        """Connect as kombu does, with a time limit where a caller sets none (beat and Flower)."""
        if max_retries is None and errback is None and not {"callback", "timeout"} & options.keys():
            options["timeout"] = _LONGEST_CONNECT_SECONDS
        kombus: Any = super()
        return kombus._ensure_connection(errback, max_retries, *args, **options)

    def Pool(self, limit: int | None = None, **kwargs: Any) -> ConnectionPool:
        """Return a pool of connections of this class; kombu's own would be of another."""
        return _Pool(self, limit, **kwargs)

    def __eqhash__(self) -> Any:
        """Return the key of a process's pool in kombu: a stock app with our address has another pool.

        So has a child of ours; its parent's stays where it is, because to close it would end the parent's.
        """
        return HashedSeq(self.kind, os.getpid(), repr(self.ssl), *super().__eqhash__())


class _Pool(ConnectionPool):
    @cached_property
    def _kind(self) -> Any:
        """The class of its connections, as kombu makes one of its own class."""
        kind: Any = type(self.connection)
        return type(f"Pooled{kind.__name__}", (kind, PooledConnection), {})

    def new(self) -> Connection:
        connection: Any = self.connection
        made: Connection = self._kind(self, **dict(connection._info(resolve=False)))
        return made

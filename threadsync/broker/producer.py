"""What sending needs: from an address to options, and connections on which "sent" means "the broker has it".

Everything that publishes uses it: the client, the worker, beat, the CLI, the doctor. It knows nothing of how
a worker takes messages; ``worker.durable.connection`` adds that.

| broker | a message is sent when |
|---|---|
| Valkey, Redis | the server has answered LPUSH, and ``BROKER_WAIT_REPLICAS`` replicas have it (WAIT) |
| RabbitMQ | it has confirmed it, and did not return it for want of a queue |
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from weakref import WeakSet

import redis
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis
from kombu.utils.collections import HashedSeq
from kombu.utils.json import dumps
from redis.exceptions import AskError, ClusterCrossSlotError, ClusterDownError, MasterDownError

from threadsync.broker.address import Address, Tls, read_broker, read_results
from threadsync.broker.clocks import SENT_AT, broker_time
from threadsync.broker.in_step import in_step, is_unwritable, sentinel_limits
from threadsync.broker.installation import IdentifiedChannel, OthersBroker, OthersConnection, options_for
from threadsync.broker.rabbitmq import ConfirmingSSLTransport, ConfirmingTransport
from threadsync.errors import InvalidSettings
from threadsync.redaction import shown_unseen

if TYPE_CHECKING:
    from threadsync.config import Settings

Role = Literal["client", "worker"]

_ENTRY_PARTS: Final = 3
"""Of an exchange's table: routing key, pattern, queue."""

_CLUSTER: Final = (
    "the server is a Redis Cluster, which Celery cannot use, because it needs all keys on one node. "
    "Name a single server or Sentinels; Valkey and Redis replicate without a cluster too"
)
_OF_CLUSTER: Final = (AskError, ClusterCrossSlotError, ClusterDownError)

_SOCKETS: Final[Mapping[Role, Mapping[str, Any]]] = {
    # `EnqueueFailed` is promised within a second.
    "client": {"socket_timeout": 0.3, "socket_connect_timeout": 0.3},
    # A half-open connection is noticed in 10 to 16 s; with the defaults a worker hung for over 150 s.
    "worker": {"socket_timeout": 5, "socket_connect_timeout": 3, "health_check_interval": 5},
}
_KEEPALIVE: Final = {
    "socket_keepalive": True,
    # Flower only listens: without these it would take two hours to find that the other side is gone.
    "socket_keepalive_options": {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3},
}
"""Of TCP only: a unix socket's connection does not know it."""

_WAIT_SECONDS: Final[Mapping[Role, float]] = {"client": 0.6, "worker": 3}
"""For so long replicas may take. The server itself must answer within a little more."""

_WAIT_MARGIN: Final = 0.2
_AMQP: Final[Mapping[Role, Mapping[str, Any]]] = {
    "client": {"socket_timeout": 0.6, "write_timeout": 0.6},
    # kombu would try for ever.
    "worker": {
        "socket_timeout": 5,
        "write_timeout": 5,
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
    },
}
_CONNECT_SECONDS: Final[Mapping[Role, float]] = {"client": 0.6, "worker": 3}
_LONGEST_CONNECT_SECONDS: Final = 10.0
_OF_REDIS: Final = frozenset(
    (*kombu_redis.Channel.from_transport_options, *kombu_redis.SentinelChannel.from_transport_options)
)
_CLIENT_RETRY: Final = {
    # One more try at once covers a connection that died while it lay in the pool.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}


class NotReplicated(OperationalError):
    """The broker has the message, and too few of its replicas have."""


# --- from an address to options


def broker_options(url: str, settings: Settings, role: Role) -> dict[str, Any]:
    """Celery's settings for the broker at ``url``. Raises ``InvalidSettings``.

    ``role`` is how long to wait for it: a client has no second, a worker has a few.
    """
    address = _valid("CELERY_BROKER_URL", read_broker, url)
    options = {
        # All three: Celery would prefer CELERY_BROKER_URL to a `broker_url` that was given.
        "broker_url": address.url,
        "broker_read_url": address.url,
        "broker_write_url": address.url,
        "broker_transport_options": _transport_options(address, settings, role),
        "broker_connection_timeout": _CONNECT_SECONDS[role],
        # Given where there is none too, because a client may have another broker than the environment's.
        "broker_use_ssl": _tls_options(address),
    }
    return options | ({"task_publish_retry_policy": _CLIENT_RETRY} if role == "client" else {})


def result_options(url: str | None, settings: Settings, role: Role) -> dict[str, Any]:
    """Celery's settings for the results at ``url``. Raises ``InvalidSettings``."""
    if url is None:
        return {}
    address = _valid("CELERY_RESULT_BACKEND", read_results, url)
    # Celery prefers CELERY_RESULT_BACKEND, so the environment and this must say the same: all of it.
    options: dict[str, Any] = {"result_backend": address.text}
    if not address.is_redis:
        return options
    sockets = _SOCKETS[role]
    options |= {
        "redis_socket_timeout": sockets["socket_timeout"],
        "redis_socket_connect_timeout": sockets["socket_connect_timeout"],
        "redis_socket_keepalive": not address.is_socket,
        "redis_backend_health_check_interval": sockets.get("health_check_interval"),
        "result_backend_transport_options": {
            **_sentinel_options(address, settings, role),
            **_chosen(settings, of_redis=True),
        },
    }
    if address.tls:
        options["redis_backend_use_ssl"] = address.tls.for_redis()
    return options


def _valid(name: str, read: Callable[[str], Address], url: str) -> Address:
    try:
        return read(url)
    except ValueError as exc:
        raise InvalidSettings(f"{name}: {exc}") from None


def _transport_options(address: Address, settings: Settings, role: Role) -> dict[str, Any]:
    ours = options_for(str(settings.installation_id) if settings.installation_id else None)
    if address.is_amqp:
        return {**ours, **_AMQP[role], **_chosen(settings, of_redis=False)}
    sockets: dict[str, Any] = dict(_SOCKETS[role])
    replicas = settings.broker_wait_replicas
    if replicas:
        seconds = _WAIT_SECONDS[role]
        sockets["socket_timeout"] = max(sockets["socket_timeout"], seconds + _WAIT_MARGIN)
        sockets |= {"wait_replicas": replicas, "wait_seconds": seconds}
    return {
        **ours,
        **sockets,
        **({} if address.is_socket else _KEEPALIVE),
        **_sentinel_options(address, settings, role),
        **_chosen(settings, of_redis=True),
    }


def _sentinel_options(address: Address, settings: Settings, role: Role) -> dict[str, Any]:
    """How to speak with the sentinels themselves: no more openly than with their master."""
    if address.scheme != "sentinel":
        return {}
    tls = {"ssl": True, **address.tls.for_redis()} if address.tls else {}
    given = settings.celery_broker_transport_options.get("sentinel_kwargs") or {}
    return {"sentinel_kwargs": sentinel_limits({**tls, **given}, _SOCKETS[role])}


def _chosen(settings: Settings, *, of_redis: bool) -> dict[str, Any]:
    """``CELERY_BROKER_TRANSPORT_OPTIONS``, as far as this transport may know them."""
    options = settings.celery_broker_transport_options
    return {
        name: value
        for name, value in options.items()
        if name != "sentinel_kwargs" and (of_redis or name not in _OF_REDIS)
    }


def _tls_options(address: Address) -> dict[str, object] | bool:
    tls: Tls | None = address.tls
    if tls is None:
        return False
    return tls.for_amqp() if address.is_amqp else tls.for_redis()


# --- Valkey and Redis


def _answering(client: Any) -> Any:
    """Let a server that cannot write to its disk be one that is there: it refuses PING too (MISCONF)."""
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
    """Let kombu's pipelines be no transactions: Redis 7.0, when full, refuses all in one, reads too."""
    with_transactions = client.pipeline

    def pipeline(transaction: bool = False, shard_hint: Any = None) -> Any:
        return with_transactions(transaction, shard_hint)

    client.pipeline = pipeline
    return client


class ProducerChannel(IdentifiedChannel):
    """Publishes; with ``wait_replicas`` it returns only when so many replicas have the message."""

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
        self._refuse_cluster()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        kombus: Any = super()
        params: dict[str, Any] = kombus._connparams(asynchronous)
        return {**params, "connection_class": in_step(params["connection_class"])}

    def _create_client(self, asynchronous: bool = False) -> Any:
        kombus: Any = super()
        return _answering(kombus._create_client(asynchronous))

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """A client on this channel's pool. kombu makes one each time, which takes longer than a command."""
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
        """Return which queues the exchange has. What is no entry of kombu's would fail each publish."""
        with self.conn_or_acquire() as client:
            members = client.smembers(self.keyprefix_queue % exchange)
        entries = (member.decode("utf-8", "replace").split(self.sep) for member in members)
        return [(entry[0], entry[1], entry[2]) for entry in entries if len(entry) == _ENTRY_PARTS]

    def run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it now; ``keys`` are those after the three of unacknowledged messages."""
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
            raise NotReplicated(
                f"{replicas} of {self.wait_replicas} replicas had the message within {self.wait_seconds:g} s"
            )

    def _refuse_cluster(self) -> None:
        with self.conn_or_acquire() as client:
            refuse_cluster(client)


class ProducerSentinelChannel(ProducerChannel, kombu_redis.SentinelChannel):
    """The same on the master that the sentinels name."""

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
    """For Redis and Valkey."""

    Channel = ProducerChannel


class ProducerSentinelTransport(kombu_redis.SentinelTransport):
    """For ``sentinel://``."""

    Channel = ProducerSentinelChannel


def refuse_cluster(client: Any) -> None:
    """Raise ``InvalidSettings`` where ``client`` speaks with a Redis Cluster."""
    try:
        # Every user may say it, whatever its ACL.
        greeting = client.execute_command("HELLO")
    except redis.ResponseError:
        # Older than Redis 6, or something in between: its errors will tell.
        return
    pairs = (
        greeting.items()
        if isinstance(greeting, Mapping)
        else zip(greeting[::2], greeting[1::2], strict=False)
    )
    if any(name in (b"mode", "mode") and mode in (b"cluster", "cluster") for name, mode in pairs):
        raise InvalidSettings(_CLUSTER)


def refuse_cluster_error(error: BaseException | None) -> None:
    """Raise ``InvalidSettings`` if the error, or one behind it, is of a Redis Cluster alone."""
    while error is not None:
        # MASTERDOWN is a subclass too, and comes from a lonely replica.
        if isinstance(error, _OF_CLUSTER) and not isinstance(error, MasterDownError):
            raise InvalidSettings(_CLUSTER) from None
        error = error.__cause__


# --- connections


class ProducerConnection(Connection):
    """kombu's, with our transports in place of its own.

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
    pooled: ClassVar[Any]

    def get_transport_cls(self) -> type[Any]:
        found = super().get_transport_cls()
        return self.transports.get(found, found)

    def _connection_factory(self) -> Any:
        """Connect. Another installation's broker is not tried again, as one that is away would be."""
        kombus: Any = super()
        try:
            return kombus._connection_factory()
        except OthersConnection as exc:
            raise OthersBroker(str(exc)) from exc

    def ensure(  # type: ignore[override]  # all else goes on as it is
        self, obj: Any, fun: Any, errback: Any = None, max_retries: int | None = None, **options: Any
    ) -> Any:
        """kombu's; who does not say how often gets one more try, where kombu would go on for ever."""
        tries = 1 if max_retries is None else max_retries
        return super().ensure(obj, fun, errback, tries, **options)

    def _ensure_connection(
        self, errback: Any = None, max_retries: int | None = None, *args: Any, **options: Any
    ) -> Any:
        """kombu's, with a limit where none is set and no failure is heard of either (beat's and Flower's)."""
        if max_retries is None and errback is None and not {"callback", "timeout"} & options.keys():
            options["timeout"] = _LONGEST_CONNECT_SECONDS
        kombus: Any = super()
        return kombus._ensure_connection(errback, max_retries, *args, **options)

    def Pool(self, limit: int | None = None, **kwargs: Any) -> ConnectionPool:
        """kombu's pool, of connections like this one: by itself it makes them of a class of its own."""
        return _Pool(self, limit, **kwargs)

    def __eqhash__(self) -> Any:
        """What kombu finds a process's pool by: a stock app with our address has another one.

        So has a child of ours; its parent's stays where it is, because to close it would end the parent's.
        """
        return HashedSeq(self.kind, os.getpid(), repr(self.ssl), *super().__eqhash__())


class _PooledProducerConnection(ProducerConnection, PooledConnection):
    """One that lies in a pool."""


ProducerConnection.pooled = _PooledProducerConnection


class _Pool(ConnectionPool):
    def new(self) -> Connection:
        connection: Any = self.connection
        made: Connection = connection.pooled(self, **dict(connection._info(resolve=False)))
        return made


class ProducerAMQP(AMQP):
    """For ``Celery(amqp=...)``: the app's connections are ours, and its messages say when they were sent."""

    Connection = ProducerConnection

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        _senders.add(self)

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Celery's message, which also says when it was sent. One that is sent again keeps its first time.

        Neither it nor the event that tells of it repeats the arguments: what is to be seen the sender says.
        """
        for repr_name, text in zip(("argsrepr", "kwargsrepr"), shown_unseen(args, kwargs), strict=True):
            if options.get(repr_name) is None:
                options[repr_name] = text
        message = super().as_task_v2(task_id, name, args, kwargs, *more, **options)
        message.headers[SENT_AT] = broker_time()
        return message


_senders: WeakSet[ProducerAMQP] = WeakSet()


def _leave_the_parents_connections_alone() -> None:
    """Forget the pools after a plain ``os.fork``, of which neither Celery nor kombu hears.

    redis-py looks at the process's id; RabbitMQ's confirms would be read by parent and child in turn.
    """
    sender: Any
    for sender in tuple(_senders):
        sender._producer_pool = sender.app._pool = None


os.register_at_fork(after_in_child=_leave_the_parents_connections_alone)

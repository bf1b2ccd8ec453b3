"""Read results where Celery's backends keep them: Valkey and Redis directly, anything else by Celery."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.connection import URL_QUERY_ARGUMENT_PARSERS, AbstractConnection
from redis.exceptions import NoPermissionError
from redis.maint_notifications import MaintNotificationsConfig
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from threadsync.address import Address, read_results
from threadsync.broker.in_step import in_step
from threadsync.broker.options import result_options
from threadsync.broker.servers import servers_of
from threadsync.config import Settings
from threadsync.errors import InvalidSettings, ThreadsyncError, UnreadableResult
from threadsync.result_reading import error_of

if TYPE_CHECKING:
    from threadsync.broker.subscription.results import Subscriptions

MOST_RESULT_BYTES: Final = 16_777_216
"""Longest result to read; ours are far smaller, and others must not fill a web process."""

_WRONG_TYPE: Final = "WRONGTYPE"
_KEY: Final = "celery-task-meta-"
_SEPARATORS: Final = ":_-."
"""Characters that end a key prefix; Celery adds a _ where none does."""


class ResultsAway(ThreadsyncError):
    """Failure of the result backend to answer, or its refusal."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Results(Protocol):
    """A result backend, as far as a client needs it."""

    def meta_of(self, task_id: str) -> Any:
        """Return what is stored of the task, as Celery's backends have it.

        Raises ``ResultsAway``; if there is something that is no result, whatever a driver or decoder raises.
        """

    def forget(self, task_id: str) -> None:
        """Delete what is stored of the task. Raises ``ResultsAway``."""

    @property
    def subscriptions(self) -> Subscriptions | None:
        """The way to be told of results; None where they are to be polled for."""

    def key_of(self, task_id: str) -> bytes:
        """Return the key of the task's result, which is the name of its channel, too."""

    def close(self) -> None:
        """Close what is open."""


def results_of(settings: Settings) -> Results:
    """Return the backend that the settings name; nothing is connected yet."""
    url = settings.result_backend_url or ""
    options = result_options(url, settings, "client")
    address = read_results(url)
    return RedisResults(address, options) if address.is_redis else CelerysResults(options)


class RedisResults:
    """Results in Valkey or Redis, also behind sentinels. Safe for threads and forks."""

    def __init__(self, address: Address, options: Mapping[str, Any]) -> None:
        self._address = address
        self._options = options
        self._more: Mapping[str, Any] = options["result_backend_transport_options"]

    def meta_of(self, task_id: str) -> Any:
        """Return what is stored of the task."""
        try:
            stored = read_part(self.client, self.key_of(task_id))
        except (redis.RedisError, OSError) as exc:
            if isinstance(exc, redis.ResponseError) and _WRONG_TYPE in str(exc):
                raise
            raise ResultsAway(exc) from exc
        return {"status": "PENDING", "result": None} if stored is None else decoded(stored)

    def forget(self, task_id: str) -> None:
        """Delete what is stored of the task."""
        try:
            self.client.delete(self.key_of(task_id))
        except (redis.RedisError, OSError) as exc:
            raise ResultsAway(exc) from exc

    def key_of(self, task_id: str) -> bytes:
        """Return the key of the task's result, which is the name of its channel, too."""
        return f"{self._prefix}{_KEY}{task_id}".encode()

    @cached_property
    def subscriptions(self) -> Subscriptions | None:
        """The way to be told of results."""
        # Only who waits for a result needs it.
        from threadsync.broker.subscription.results import Subscriptions

        return Subscriptions(self._connected)

    def close(self) -> None:
        """Close all connections, those to the sentinels too. The next question opens new ones."""
        if subscriptions := vars(self).pop("subscriptions", None):
            subscriptions.close()
        if client := vars(self).pop("client", None):
            hang_up(client)

    @cached_property
    def _prefix(self) -> str:
        prefix = str(self._more.get("global_keyprefix") or "")
        return f"{prefix}_" if prefix and prefix[-1] not in _SEPARATORS else prefix

    def _connected(self) -> Any:
        """Return a new connection for a subscriber, who may read on it too with RESP3."""
        pool = self.client.connection_pool
        options = {name: value for name, value in pool.connection_kwargs.items() if "maint" not in name}
        silent = MaintNotificationsConfig(enabled=False)
        connection = pool.connection_class(**{**options, "protocol": 3}, maint_notifications_config=silent)
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    @cached_property
    def client(self) -> Any:
        """One client for all threads."""
        servers = list(self._servers())
        if self._address.scheme == "sentinel":
            return self._behind_sentinels(servers)
        pool = redis.ConnectionPool(**servers[0])
        return redis.Redis(connection_pool=pool)

    def _behind_sentinels(self, servers: list[dict[str, Any]]) -> Any:
        places = [(server.pop("host"), server.pop("port")) for server in servers]
        sentinels: Any = Sentinel  # the stubs give no types
        sentinel = sentinels(
            places,
            min_other_sentinels=self._more.get("min_other_sentinels", 0),
            sentinel_kwargs=self._more["sentinel_kwargs"],
            **servers[0],
        )
        return sentinel.master_for(str(self._more.get("master_name")))

    def _servers(self) -> Iterator[dict[str, Any]]:
        """Yield redis-py's arguments for each address, as Celery's backend reads it."""
        limits = {"socket_timeout": self._options["redis_socket_timeout"]}
        if not self._address.is_socket:
            limits["socket_connect_timeout"] = self._options["redis_socket_connect_timeout"]
            limits["socket_keepalive"] = True
        urls = self._address.url.split(";")
        for url, server in zip(urls, servers_of(self._address, "localhost", 6379), strict=True):
            query = {name: _parsed(name, value) for name, value in parse_qsl(urlsplit(url).query)}
            query.pop("virtual_host", None)
            connecting = {"connection_class": in_step(self._connection_class), **limits, **server, **query}
            provided = ("username", "password") if "credential_provider" in query else ()
            yield {name: value for name, value in connecting.items() if name not in provided}

    @property
    def _connection_class(self) -> type[AbstractConnection]:
        if self._address.scheme == "sentinel":
            return SentinelManagedSSLConnection if self._address.tls else SentinelManagedConnection
        if self._address.is_socket:
            return redis.UnixDomainSocketConnection
        return redis.SSLConnection if self._address.tls else redis.Connection


class CelerysResults:
    """Results elsewhere, such as ``db+postgresql://``, which Celery's own backends read."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            from celery import Celery
        except ImportError:
            raise InvalidSettings(
                "CELERY_RESULT_BACKEND: Celery reads these results: pip install 'threadsync[worker]'"
            ) from None

        self._app = Celery("threadsync-results", set_as_current=False)
        self._app.conf.update(options, result_serializer="json", accept_content=["json"])
        self._backend: Any = self._app.backend
        # Celery's would look for the class that is named there among all modules, and make one of it.
        vars(self._backend)["exception_to_python"] = error_of

    def meta_of(self, task_id: str) -> Any:
        """Return what is stored of the task."""
        from kombu.exceptions import SerializationError, SerializerNotInstalled

        from threadsync.broker.errors import BROKER_ERRORS

        try:
            return self._backend.get_task_meta(task_id)
        except (SerializationError, SerializerNotInstalled):
            # It answered, with something that is no result.
            raise
        except BROKER_ERRORS as exc:
            raise ResultsAway(exc) from exc

    def forget(self, task_id: str) -> None:
        """Delete what is stored of the task."""
        from threadsync.broker.errors import BROKER_ERRORS

        try:
            self._backend.forget(task_id)
        except BROKER_ERRORS as exc:
            raise ResultsAway(exc) from exc

    @property
    def subscriptions(self) -> Subscriptions | None:
        """None: they are polled for."""
        return None

    def key_of(self, task_id: str) -> bytes:
        """Return the key by which the backend finds the result."""
        key: bytes = self._backend.get_key_for_task(task_id)
        return key

    def close(self) -> None:
        """Close the app; the backend keeps no connections of ours."""
        self._app.close()


def read_part(client: Any, key: Any) -> Any:
    """Read at most ``MOST_RESULT_BYTES``. Raises ``UnreadableResult`` for what is larger."""
    try:
        found = client.getrange(key, 0, MOST_RESULT_BYTES)
    except NoPermissionError:
        # Rights that were given before GETRANGE was among those that we need.
        found = client.get(key) or b""
    if len(found) > MOST_RESULT_BYTES:
        raise UnreadableResult(f"the result is larger than {MOST_RESULT_BYTES} bytes")
    return found or None


def decoded(stored: bytes) -> Any:
    """Return the record that is stored. Raises whatever the decoder raises, quoting its input."""
    return json.loads(stored.decode())


def hang_up(client: Any) -> None:
    """Close the client's connections, those to the sentinels too."""
    pool = client.connection_pool
    pool.disconnect()
    for sentinel in pool.sentinel_manager.sentinels if isinstance(pool, SentinelConnectionPool) else ():
        sentinel.close()


def _parsed(name: str, value: Any) -> Any:
    if name == "credential_provider":
        module, _, attribute = value.replace(":", ".").rpartition(".")
        return getattr(import_module(module), attribute)()
    parse: Any = URL_QUERY_ARGUMENT_PARSERS.get(name, lambda told: told)
    return parse(value)

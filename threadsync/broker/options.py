"""Turn settings into the options by which Celery and kombu connect to the broker and to the results."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from threadsync.address import Address, Tls, read_broker, read_results
from threadsync.broker.in_step import sentinel_limits
from threadsync.broker.ownership import options_for
from threadsync.errors import InvalidSettings

if TYPE_CHECKING:
    from threadsync.config import Settings

Role = Literal["client", "worker"]

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
"""Options for TCP only: connections over unix sockets reject them."""

_WAIT_SECONDS: Final[Mapping[Role, float]] = {"client": 0.6, "worker": 3}
"""The longest wait for replicas. The server itself must answer within a little more."""

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
_CLIENT_RETRY: Final = {
    # One more try at once covers a connection that died while it lay in the pool.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}


def broker_options(url: str, settings: Settings, role: Role) -> dict[str, Any]:
    """Return Celery's settings for the broker at ``url``. Raises ``InvalidSettings``.

    ``role`` decides how long to wait for it: a client less than a second, a worker a few.
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
    """Return Celery's settings for the results at ``url``. Raises ``InvalidSettings``."""
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
    """Return options for the sentinels themselves: encrypted where their master is."""
    if address.scheme != "sentinel":
        return {}
    tls = {"ssl": True, **address.tls.for_redis()} if address.tls else {}
    given = settings.celery_broker_transport_options.get("sentinel_kwargs") or {}
    return {"sentinel_kwargs": sentinel_limits({**tls, **given}, _SOCKETS[role])}


def _chosen(settings: Settings, *, of_redis: bool) -> dict[str, Any]:
    """Return the members of ``CELERY_BROKER_TRANSPORT_OPTIONS`` that this transport knows."""
    options = settings.celery_broker_transport_options
    others = {"sentinel_kwargs"} if of_redis else {"sentinel_kwargs", *_options_of_redis()}
    return {name: value for name, value in options.items() if name not in others}


def _options_of_redis() -> tuple[str, ...]:
    # kombu is loaded only where it is needed.
    from kombu.transport import redis as kombu_redis

    channels: tuple[Any, ...] = (kombu_redis.Channel, kombu_redis.SentinelChannel)
    return tuple(name for channel in channels for name in channel.from_transport_options)


def _tls_options(address: Address) -> dict[str, object] | bool:
    tls: Tls | None = address.tls
    if tls is None:
        return False
    return tls.for_amqp() if address.is_amqp else tls.for_redis()

"""An app's connections to the broker: kombu's, with ``worker.transport`` in place of its Redis transport."""

from __future__ import annotations

import ssl
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.connection import ConnectionPool, PooledConnection
from kombu.transport import redis as kombu_redis
from kombu.utils.collections import HashedSeq

from worker.clocks import broker_time
from worker.installation import OthersBroker, OthersConnection
from worker.transport import DurableSentinelTransport, DurableTransport

SENT_AT: Final = "sent_at"
"""The header; Unix seconds by the broker's clock, as far as the sender knows it."""

_OURS: Final[dict[type, type]] = {
    kombu_redis.Transport: DurableTransport,
    kombu_redis.SentinelTransport: DurableSentinelTransport,
}


class DurableConnection(Connection):
    """kombu's, with our transport in place of its own.

    The setting ``broker_transport`` does not do: for ``redis+socket://``, and when it goes on to the next URL
    of a list, kombu takes the transport from the URL.
    """

    def _connection_factory(self) -> Any:
        """Connect. Another installation's broker is not tried again, as one that is away would be."""
        kombus: Any = super()
        try:
            return kombus._connection_factory()
        except OthersConnection as exc:
            raise OthersBroker(str(exc)) from exc

    def get_transport_cls(self) -> type[Any]:
        found = super().get_transport_cls()
        return _OURS.get(found, found)

    def Pool(self, limit: int | None = None, **kwargs: Any) -> ConnectionPool:
        """kombu's pool, of connections like this one: by itself it makes them of a class of its own."""
        return _DurablePool(self, limit, **kwargs)

    def __eqhash__(self) -> Any:
        """What kombu finds a process's pool by: a stock app with our address has another one."""
        return HashedSeq(DurableConnection, *super().__eqhash__())


class _DurablePooledConnection(DurableConnection, PooledConnection):
    """One that lies in a pool."""


class _DurablePool(ConnectionPool):
    def new(self) -> Connection:
        # The stubs know nothing of a pool as the first argument.
        pooled: Any = _DurablePooledConnection
        made: Connection = pooled(self, **dict(self.connection._info(resolve=False)))
        return made


class DurableAMQP(AMQP):
    """For ``Celery(amqp=...)``, so for workers and for clients: the app's connections are ours."""

    Connection = DurableConnection

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's message, which also says when it was sent. One that is sent again keeps its first time."""
        message = super().as_task_v2(*args, **kwargs)
        message.headers[SENT_AT] = broker_time()
        return message


def verified_tls(broker_url: str) -> dict[str, Any]:
    """Celery's settings for ``rediss://``: whoever does not say otherwise wants certificates checked.

    Of several URLs, separated by ``;``, the first one's scheme decides.
    """
    if broker_url.startswith("rediss://") and "ssl_cert_reqs" not in broker_url:
        return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}}
    return {}

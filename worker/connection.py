"""An app's connections to the broker: kombu's, with ``worker.transport`` in place of its Redis transport."""

from __future__ import annotations

import ssl
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis

from worker.transport import DurableSentinelTransport, DurableTransport

_OURS: Final[dict[type, type]] = {
    kombu_redis.Transport: DurableTransport,
    kombu_redis.SentinelTransport: DurableSentinelTransport,
}


class DurableConnection(Connection):
    """kombu's, with our transport in place of its own.

    The setting ``broker_transport`` does not do: for ``redis+socket://``, and when it goes on to the next URL
    of a list, kombu takes the transport from the URL.
    """

    def get_transport_cls(self) -> type[Any]:
        found = super().get_transport_cls()
        return _OURS.get(found, found)


class DurableAMQP(AMQP):
    """For ``Celery(amqp=...)``, so for workers and for clients: the app's connections are ours."""

    Connection = DurableConnection


def verified_tls(broker_url: str) -> dict[str, Any]:
    """Celery's settings for ``rediss://``: whoever does not say otherwise wants certificates checked.

    Of several URLs, separated by ``;``, the first one's scheme decides.
    """
    if broker_url.startswith("rediss://") and "ssl_cert_reqs" not in broker_url:
        return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}}
    return {}

"""Whether a service of ours is ready for work."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request


def answers_http(url: str) -> bool:
    """Whether an HTTP server is there; refusing the request is an answer."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a URL of our own
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False


def worker_answers(name: str, broker_url: str | None) -> bool:
    """Whether the Celery worker ``name@<this host>`` replies to a ping over the broker.

    ``broker_url`` is the one of the environment if None.
    """
    from celery import Celery

    from threadsync.broker.errors import BROKER_ERRORS
    from threadsync.broker.producer import broker_options
    from threadsync.config import load_settings

    settings = load_settings(**({"celery_broker_url": broker_url} if broker_url else {}))
    # As workers listen: kombu's own way would put back what others hold, which no login of ours may.
    with Celery(amqp="worker.durable.connection:DurableAMQP", set_as_current=False) as app:
        # Its key prefix, its sentinels' master, its certificates.
        app.conf.update(broker_options(settings.broker_url or "", settings, "worker"))
        try:
            return bool(app.control.ping(destination=[f"{name}@{socket.gethostname()}"], timeout=0.5))
        except BROKER_ERRORS:
            return False

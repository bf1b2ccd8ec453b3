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
    import redis
    from celery import Celery
    from kombu.exceptions import OperationalError

    from worker.config import Settings

    settings = Settings(celery_broker_url=broker_url) if broker_url else Settings()
    with Celery(broker=settings.broker_url, set_as_current=False) as app:
        try:
            return bool(app.control.ping(destination=[f"{name}@{socket.gethostname()}"], timeout=0.5))
        except (OperationalError, redis.RedisError, OSError):
            return False

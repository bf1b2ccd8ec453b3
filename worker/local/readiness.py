"""Tell whether a process of the stack is ready for work."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request


def answers_http(url: str) -> bool:
    """Return True if an HTTP server responds, even by a refusal."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a URL of our own
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False


def sends_heartbeats(node: str, broker_url: str | None, within_seconds: float) -> bool:
    """Return True if the worker ``node@<this host>`` has sent a heartbeat within the last seconds.

    ``broker_url`` is the one of the environment if None.
    """
    from threadsync import SessionClient
    from threadsync.errors import ThreadsyncError

    try:
        with SessionClient(broker_url) as client:
            signs = client.heartbeats()
    except ThreadsyncError:
        return False
    if signs is None:
        # This broker keeps no heartbeats: there is nothing to wait for.
        return True
    sign = signs.workers.get(f"{node}@{socket.gethostname()}")
    return sign is not None and sign.seconds <= within_seconds

"""Choose a local server's port: the one it had last time, or a free one."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

# Below the range from which Linux takes ports for outgoing connections (32768 and up): any client may hold
# a port from there while its server restarts.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return True if the port is free now, as a hint: it may be taken a moment later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(*preferred: int | None) -> int:
    """Return the first preferred port that is free, else any."""
    candidates = [port for port in preferred if port]
    candidates += random.sample(_RANGE, 200)  # not a secret; spread, so that two servers rarely race for one
    return next(port for port in candidates if is_free(port))


def read_port(file: Path) -> int | None:
    """Return the port noted last time, if there is a valid note."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(file.read_text())
        return port if 0 < port < 65536 else None
    return None

"""Brokers for tests: Valkey from the wheel, and Debian's Redis where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from worker.local.child import Child
from worker.local.servers.server import server_environment
from worker.local.servers.valkey import EmbeddedValkey

BROKERS = ("valkey", "redis-server")


class DebianRedis(EmbeddedValkey):
    """The ``redis-server`` of the distribution, set up as our own Valkey."""

    name = "redis"
    program = "redis-server"

    def _spawn(self) -> Child:
        found = shutil.which(self.program)
        assert found
        argv = [found, str(self._write_config())]
        environment = server_environment()
        return Child(
            argv, log_path=self.log_path, cwd=self._data, env=environment, death_signal=self.stop_signal
        )


@contextmanager
def broker_of_kind(kind: str, place: Path, **settings: str) -> Iterator[EmbeddedValkey]:
    """A server of this test's own. Skips the test where the program is missing."""
    if kind != "valkey" and not shutil.which(kind):
        pytest.skip(f"{kind} is not installed (apt-get install {kind})")
    options: Any = {"settings": {name.replace("_", "-"): value for name, value in settings.items()}}
    server = (EmbeddedValkey if kind == "valkey" else DebianRedis)(place / kind, **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def fill(server: redis.Redis) -> None:
    """Let it be at its limit: it refuses every write that may take memory."""
    server.config_set("maxmemory", "1")


def empty(server: redis.Redis) -> None:
    """Take the limit away."""
    server.config_set("maxmemory", "0")

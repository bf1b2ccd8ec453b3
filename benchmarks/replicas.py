"""Measure the cost of BROKER_WAIT_REPLICAS for a sender, on a Valkey with one replica, as a table."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from threadsync import SessionClient
from worker.local.servers.valkey import EmbeddedValkey

_COMMANDS: Final = 500
_AT_ONCE: Final = {"repl-diskless-sync-delay": "0"}


@contextmanager
def _replicated(directory: Path) -> Iterator[str]:
    """Run a master with a replica; yield its URL."""
    master, replica = (
        EmbeddedValkey(directory / "master", settings=_AT_ONCE),
        EmbeddedValkey(directory / "replica"),
    )
    try:
        master.start()
        replica.start()
        with redis.Redis.from_url(replica.url) as other, redis.Redis.from_url(master.url) as first:
            other.config_set("masterauth", master.password)
            other.replicaof("127.0.0.1", str(master.port))
            first.set("seen", "1")
            if first.wait(1, 4_000) != 1:
                raise RuntimeError("the replica does not follow")
        yield master.url
    finally:
        replica.stop()
        master.stop()


def _milliseconds(url: str, replicas: int) -> list[float]:
    os.environ["BROKER_WAIT_REPLICAS"] = str(replicas)
    taken = []
    with SessionClient(url, url) as client:
        client.ping()
        for number in range(_COMMANDS):
            began = time.perf_counter()
            client.get_or_create("C1", f"1700000000.{number:06}", "U1")
            taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def main() -> None:
    """Print a row for each setting."""
    with tempfile.TemporaryDirectory() as directory, _replicated(Path(directory)) as url:
        for replicas in (0, 1):
            taken = _milliseconds(url, replicas)
            half, most = statistics.median(taken), taken[int(len(taken) * 0.99)]
            sys.stdout.write(f"| `BROKER_WAIT_REPLICAS={replicas}` | {half:.1f} ms | {most:.1f} ms |\n")


if __name__ == "__main__":
    main()

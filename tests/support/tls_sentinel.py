"""A sentinel that speaks TLS only and asks each client for a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import redis

from tests.support.redis_servers import PASSWORD, RedisServer, redis_program
from tests.support.tls import Authority
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.port import free_port

MASTER: Final = "broker"
"""Name of the master that it watches."""


@contextmanager
def tls_sentinel(authority: Authority, master: RedisServer, folder: Path) -> Iterator[int]:
    """Start a sentinel over ``master``, wait until it sees it, and yield its port."""
    port, own = free_port(), authority.issue("sentinel")
    folder.mkdir()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"tls-cert-file {own.certfile}\ntls-key-file {own.keyfile}\ntls-ca-cert-file {authority.ca}\n"
        "tls-auth-clients yes\ntls-replication yes\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master.tls_port} 1\n"
        f"sentinel auth-pass {MASTER} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {MASTER} 2000\n"
    )
    child = Child([redis_program(), str(config), "--sentinel"], log_path=folder / "sentinel.log", cwd=folder)
    asking = authority.issue("test")
    client = redis.Redis(
        port=port,
        ssl=True,
        ssl_ca_certs=str(authority.ca),
        ssl_certfile=str(asking.certfile),
        ssl_keyfile=str(asking.keyfile),
        decode_responses=True,
    )

    def sees_its_master() -> bool:
        try:
            # Until it has spoken with its master, the sentinel says so among the flags.
            return bool(cast(Any, client.sentinel_masters())[MASTER]["flags"] == "master")
        except redis.ConnectionError:
            return False

    try:
        wait_until(sees_its_master, "the sentinel sees its master", 20)
        yield port
    finally:
        client.close()
        child.kill()

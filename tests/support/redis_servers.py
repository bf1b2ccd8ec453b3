"""Redis and Valkey servers for the tests besides the session's own: TLS, sockets, users, sentinels."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.tls import Authority
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.port import free_port
from worker.local.servers.valkey import valkey_program

PASSWORD = "of-these-tests"
_START_SECONDS = 30


def redis_program() -> str:
    """Debian's Redis 7.0; skips the test where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server here")
    return program


class RedisServer:
    """A server on a port, and on a socket. What it acknowledged survives ``kill``.

    Args:
        program: Valkey's of the wheel, unless it is ``redis_program()``.
        authority: TLS on ``tls_port`` by a certificate of its. The wheel's Valkey is built without.
        users: ACL lines, such as ``confined on >pw ~ts:* +@all``.
    """

    def __init__(
        self,
        directory: Path,
        program: str | None = None,
        *,
        authority: Authority | None = None,
        client_certificates: bool = False,
        users: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.tls_port = free_port() if authority else None
        self.socket = directory / "s"
        self._argv = [program or str(valkey_program()), str(directory / "server.conf")]
        self._child: Child | None = None
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": f'"{self.socket}"',
            "dir": f'"{directory}"',
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "appendonly": "yes",
            "appendfsync": "no",
            "save": '""',
            "repl-diskless-sync-delay": "0",
            **(settings or {}),
        }
        if "cluster-enabled" in lines:
            # By itself it takes another ten thousand higher, without a look whether that is free.
            lines["cluster-port"] = str(free_port())
        if authority is not None:
            server = authority.issue("redis")
            lines |= {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(server.certfile),
                "tls-key-file": str(server.keyfile),
                "tls-ca-cert-file": str(authority.ca),
                "tls-auth-clients": "yes" if client_certificates else "no",
            }
        text = [f"{name} {value}\n" for name, value in lines.items()]
        text += [f"user {line}\n" for line in users]
        (directory / "server.conf").write_text("".join(text))

    def url(self, database: int = 0, user: str = f":{PASSWORD}") -> str:
        """By TCP; ``user`` as it stands before the ``@``."""
        return f"redis://{user}@127.0.0.1:{self.port}/{database}"

    def tls_url(self, database: int = 0, user: str = f":{PASSWORD}") -> str:
        """By TLS; ``?`` and the authority's ``query`` are to be added."""
        return f"rediss://{user}@127.0.0.1:{self.tls_port}/{database}"

    def socket_url(self, database: int = 0, user: str = f":{PASSWORD}") -> str:
        """By its socket."""
        return f"redis+socket://{user}@{self.socket}?virtual_host={database}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def client(self, database: int = 0) -> redis.Redis:
        """For the test itself."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self.url(database), decode_responses=True, socket_timeout=5, retry=once)

    def start(self) -> RedisServer:
        """Start it, and return when it answers."""
        log = self.directory / "server.log"
        self._child = child = Child(self._argv, log_path=log, cwd=self.directory)
        wait_until(lambda: self._answers() or child.poll() is not None, "the server answers", _START_SECONDS)
        assert child.poll() is None, child.log_tail()
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    @property
    def has_ended(self) -> bool:
        """By itself, or killed."""
        return self._child is not None and self._child.poll() is not None

    def freeze(self) -> None:
        """Stop it in its tracks; connections stay, and nothing answers."""
        psutil.Process(self.pid).send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        psutil.Process(self.pid).send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class SentinelSet:
    """A master with replicas, and sentinels that watch it.

    Use ``url`` with ``options`` as CELERY_BROKER_TRANSPORT_OPTIONS.
    """

    name = "broker"

    def __init__(
        self, directory: Path, program: str | None = None, *, replicas: int = 2, sentinels: int = 3
    ) -> None:
        self.servers = [RedisServer(directory / f"server{number}", program) for number in range(1 + replicas)]
        self.ports = [free_port() for _ in range(sentinels)]
        self._directory = directory
        self._program = program or str(valkey_program())
        self._sentinels: list[Child] = []

    @property
    def url(self) -> str:
        return ";".join(f"sentinel://:{PASSWORD}@127.0.0.1:{port}/0" for port in self.ports)

    @property
    def options(self) -> dict[str, str]:
        return {"master_name": self.name}

    @property
    def master(self) -> RedisServer:
        """The server that the sentinels name."""
        port = self._state()["port"]
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> list[RedisServer]:
        master = self.master
        return [server for server in self.servers if server is not master]

    def start(self) -> SentinelSet:
        """Return when the sentinels see all of it."""
        first, *others = self.servers
        for server in self.servers:
            server.start()
        for server in others:
            with server.client() as client:
                client.replicaof("127.0.0.1", str(first.port))
        for number, port in enumerate(self.ports):
            self._watch(number, port, first.port)
        wait_until(self._is_whole, "the sentinels see master and replicas", _START_SECONDS)
        return self

    def stop(self) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
        for server in self.servers:
            server.kill()

    def _watch(self, number: int, port: int, master: int) -> None:
        directory = self._directory / f"sentinel{number}"
        directory.mkdir(parents=True)
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {self.name} 127.0.0.1 {master} {len(self.ports) // 2 + 1}\n"
            f"sentinel auth-pass {self.name} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {self.name} 1500\n"
            f"sentinel failover-timeout {self.name} 6000\n"
        )
        argv = [self._program, str(config), "--sentinel"]
        self._sentinels.append(Child(argv, log_path=directory / "sentinel.log", cwd=directory))

    def _state(self) -> dict[str, Any]:
        for port in self.ports:
            with (
                contextlib.suppress(redis.RedisError),
                redis.Redis(port=port, decode_responses=True, socket_timeout=2) as client,
            ):
                return dict(cast(Any, client.sentinel_masters())[self.name])
        return {}

    def _is_whole(self) -> bool:
        state = self._state()
        return (
            state.get("num-slaves") == len(self.servers) - 1
            and state.get("num-other-sentinels") == len(self.ports) - 1
            and all(self._is_linked(server) for server in self.servers[1:])
        )

    def _is_linked(self, server: RedisServer) -> bool:
        with server.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def __enter__(self) -> SentinelSet:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

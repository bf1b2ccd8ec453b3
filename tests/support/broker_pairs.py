"""Brokers, and the ways to them, that threadsync promises the same for: real servers to kill and freeze."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.support.documents import read
from tests.support.installation import Installation
from tests.support.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.support.redis_servers import RedisServer, SentinelSet, redis_program
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.tls import Authority
from threadsync.config import load_settings
from threadsync.liveness.heartbeats import heartbeats_of
from threadsync.liveness.state import Heartbeats
from worker.doctor.app import app_of


class BrokerServer(ABC):
    """One server of a kind, shared by the tests of a module."""

    name: ClassVar[str]
    results_are_elsewhere: ClassVar[bool] = False
    """So that none is lost when the broker is killed."""
    unsuspected: ClassVar[int] = 2
    """Deliveries of a message before it is a suspect."""
    runs = False

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        self.folder = folder
        self.results = results

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again on its data."""

    @abstractmethod
    def stop(self) -> None:
        """End it for good."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL."""

    @abstractmethod
    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT."""

    @abstractmethod
    def env(self) -> Mapping[str, str]:
        """The settings of an installation that has the broker to itself, with nothing in it."""


class ValkeyTcp(BrokerServer):
    """Valkey over TCP."""

    name = "valkey-tcp"

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        super().__init__(folder, results)
        self._numbers = itertools.count()
        self.server = self.make()

    def make(self) -> RedisServer:
        return RedisServer(self.folder / "server")

    def start(self) -> None:
        if not self.runs:
            self.server.start()
            self.runs = True

    def stop(self) -> None:
        self.server.kill()

    def kill(self) -> None:
        self.server.kill()
        self.runs = False

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.server.pid, number)

    def env(self) -> Mapping[str, str]:
        return {"CELERY_BROKER_URL": self.url_of(next(self._numbers))}

    def url_of(self, database: int) -> str:
        return self.server.url(database)


class ValkeySocket(ValkeyTcp):
    """Valkey over a unix socket."""

    name = "valkey-socket"

    def url_of(self, database: int) -> str:
        return self.server.socket_url(database)


class ValkeyPrefix(ValkeyTcp):
    """Valkey, as a user who may touch only keys of a prefix: docs/operate/brokers.md has its rights."""

    name = "valkey-acl"

    def make(self) -> RedisServer:
        return RedisServer(self.folder / "server", self.program(), users=[self.acl(n) for n in range(16)])

    def program(self) -> str | None:
        return None

    def acl(self, database: int) -> str:
        rights = documented_acl().replace("/0.", f"/{database}.")
        return f"confined{database} on >pw {rights}"

    def env(self) -> Mapping[str, str]:
        number = next(self._numbers)
        return {
            "CELERY_BROKER_URL": self.server.url(number, f"confined{number}:pw"),
            "CELERY_BROKER_TRANSPORT_OPTIONS": '{"global_keyprefix": "ts:"}',
        }


class RedisTls(ValkeyTcp):
    """Debian's Redis 7.0 with TLS and client certificates; the wheel's Valkey is built without."""

    name = "redis-tls"

    def make(self) -> RedisServer:
        (self.folder / "tls").mkdir()
        self._authority = Authority(self.folder / "tls")
        self._client = self._authority.issue("client")
        return RedisServer(
            self.folder / "server", redis_program(), authority=self._authority, client_certificates=True
        )

    def url_of(self, database: int) -> str:
        return f"{self.server.tls_url(database)}?{self._authority.query(self._client)}"


class RedisTcp(ValkeyTcp):
    """Debian's Redis 7.0 over TCP."""

    name = "redis-tcp"

    def make(self) -> RedisServer:
        return RedisServer(self.folder / "server", redis_program())


class RedisPrefix(ValkeyPrefix):
    """Debian's Redis 7.0, as the same user."""

    name = "redis-acl"

    def program(self) -> str | None:
        return redis_program()

    def acl(self, database: int) -> str:
        # Of 7.2 and later.
        return super().acl(database).replace(" +client|setinfo", "")


class ValkeySentinel(BrokerServer):
    """Valkey's master that sentinels name. What becomes of it in a failover is another suite's."""

    name = "valkey-sentinel"

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        super().__init__(folder, results)
        self._numbers = itertools.count()
        # No second one: a freeze would be a failover.
        self.server = SentinelSet(folder, replicas=0, sentinels=1)
        self._is_killed = False

    def start(self) -> None:
        if not self.runs:
            self.server.start()
            self.runs = True
        elif self._is_killed:
            # Before the sentinel or after it has seen that: there is no other one to take over.
            self.server.servers[0].start()
            self._is_killed = False

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.servers[0].kill()
        self._is_killed = True

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.server.servers[0].pid, number)

    def env(self) -> Mapping[str, str]:
        return {
            "CELERY_BROKER_URL": self.server.url.replace("/0", f"/{next(self._numbers)}"),
            "CELERY_BROKER_TRANSPORT_OPTIONS": json.dumps(self.server.options),
        }


class RabbitClassic(BrokerServer):
    """RabbitMQ over TCP, with classic queues, as a user who may no more than docs/operate/brokers.md says."""

    name = "rabbitmq-classic"
    results_are_elsewhere = True
    # The broker says that a message comes again, and not how often.
    unsuspected = 1
    kind = "classic"
    user = "confined"

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        needs_rabbitmq()
        super().__init__(folder, results)
        self.server = self.make()

    def make(self) -> RabbitMQ:
        return RabbitMQ(self.folder / "rabbitmq")

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def signal(self, number: signal.Signals) -> None:
        self.server.signal(number)

    def env(self) -> Mapping[str, str]:
        return {
            "CELERY_BROKER_URL": self.server.url(self.kind, self.user),
            "CELERY_RESULT_BACKEND": self.results.broker(),
        }


class RabbitQuorumTls(RabbitClassic):
    """RabbitMQ over TLS with client certificates, with quorum queues by the virtual host's default."""

    name = "rabbitmq-quorum-tls"
    unsuspected = 2
    kind = "quorum"
    user = "threadsync"

    def make(self) -> RabbitMQ:
        (self.folder / "tls").mkdir()
        return RabbitMQ(self.folder / "rabbitmq", Authority(self.folder / "tls"))


PAIRS: tuple[type[BrokerServer], ...] = (
    *(ValkeyTcp, ValkeySocket, ValkeyPrefix, ValkeySentinel),
    *(RedisTls, RedisTcp, RedisPrefix),
    *(RabbitClassic, RabbitQuorumTls),
)


def documented_acl() -> str:
    """The rights of docs/operate/brokers.md, for a server of a configuration file."""
    page = read("docs/operate/brokers.md")
    found = re.search(r"ACL SETUSER threadsync on >password (.*?)```", page, re.DOTALL)
    assert found
    return " ".join(found[1].split())


class Site(Installation):
    """An installation on one of them."""

    def __init__(self, database_url: str, env: Mapping[str, str], logs: Path) -> None:
        super().__init__(database_url, env["CELERY_BROKER_URL"], logs, env.get("CELERY_RESULT_BACKEND"))
        self.env.update(env)
        given: dict[str, Any] = {name.lower(): value for name, value in env.items()}
        self.app = self.celery = app_of(load_settings(**given))

    def heartbeats(self) -> Heartbeats:
        found = heartbeats_of(self.app)
        assert found is not None
        return found

    def waiting(self) -> int:
        found = self.heartbeats()
        return sum(queue.messages for queue in found.queues.values()) + (found.unacknowledged or 0)

    def close(self) -> None:
        for result in self._results:
            # Its __del__ would look for the broker, which may be gone by then.
            result.backend = None  # type: ignore[assignment]
        backend: Any = self.app.backend
        backend.result_consumer.stop()
        backend.client.connection_pool.disconnect()
        self.app.close()


@contextmanager
def install_on(server: BrokerServer, postgres: PostgresForTests, logs: Path) -> Iterator[Site]:
    """An empty installation, gone afterwards."""
    with postgres.database() as database_url:
        site = Site(database_url, server.env(), logs)
        try:
            yield site
        finally:
            site.close()

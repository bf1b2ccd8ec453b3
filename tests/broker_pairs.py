"""Brokers, and the ways to them, that threadsync promises the same for: real servers to kill and freeze."""

from __future__ import annotations

import itertools
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.installation import Installation
from tests.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.servers import PostgresForTests, ValkeyForTests
from worker.config import load_settings
from worker.doctor.app import app_of
from worker.embedded.valkey import EmbeddedValkey
from worker.signs import Signs, signs_of


class BrokerServer(ABC):
    """One server of a kind, shared by the tests of a module."""

    name: ClassVar[str]
    can_be_killed: ClassVar[bool] = True

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


class OwnValkey(BrokerServer):
    """Valkey over TCP."""

    name = "valkey-tcp"

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        super().__init__(folder, results)
        self.server = EmbeddedValkey(folder / "valkey", settings=self.settings())
        self._numbers = itertools.count()

    def settings(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def signal(self, number: signal.Signals) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, number)

    def env(self) -> Mapping[str, str]:
        return {"CELERY_BROKER_URL": self.url_of(next(self._numbers))}

    def url_of(self, database: int) -> str:
        return self.server.url.removesuffix("/0") + f"/{database}"


class ValkeySocket(OwnValkey):
    """Valkey over a unix socket."""

    name = "valkey-socket"

    def settings(self) -> dict[str, str]:
        return {"unixsocket": f'"{self.folder / "valkey.sock"}"'}

    def url_of(self, database: int) -> str:
        path = self.folder / "valkey.sock"
        return f"redis+socket://:{self.server.password}@{path}?virtual_host={database}"


class ClassicRabbitMQ(BrokerServer):
    """RabbitMQ over TCP, with queues as they are by default."""

    name = "rabbitmq-classic"
    kind = "classic"

    def __init__(self, folder: Path, results: ValkeyForTests) -> None:
        needs_rabbitmq()
        super().__init__(folder, results)
        self.server = RabbitMQ(folder / "rabbitmq", tls=self.tls())

    def tls(self) -> Mapping[str, str] | None:
        return None

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
            "CELERY_BROKER_URL": self.server.url(self.kind),
            "CELERY_RESULT_BACKEND": self.results.broker(),
        }


class QuorumRabbitMQ(ClassicRabbitMQ):
    """RabbitMQ with quorum queues by default."""

    name = "rabbitmq-quorum"
    kind = "quorum"


PAIRS: tuple[type[BrokerServer], ...] = (OwnValkey, ValkeySocket, ClassicRabbitMQ, QuorumRabbitMQ)


class Site(Installation):
    """An installation on one of them."""

    def __init__(self, database_url: str, env: Mapping[str, str], logs: Path) -> None:
        super().__init__(database_url, env["CELERY_BROKER_URL"], logs, env.get("CELERY_RESULT_BACKEND"))
        self.env.update(env)
        self.env["LOG_LEVEL"] = "DEBUG"
        given: dict[str, Any] = {name.lower(): value for name, value in env.items()}
        self.app = app_of(load_settings(**given))

    def signs(self) -> Signs:
        found = signs_of(self.app)
        assert found is not None
        return found

    def waiting(self) -> int:
        found = self.signs()
        return sum(queue.messages for queue in found.queues.values()) + (found.unacknowledged or 0)

    def close(self) -> None:
        self.app.close()
        super().close()


@contextmanager
def install_on(server: BrokerServer, postgres: PostgresForTests, logs: Path) -> Iterator[Site]:
    """An empty installation, gone afterwards."""
    with postgres.database() as database_url:
        site = Site(database_url, server.env(), logs)
        try:
            yield site
        finally:
            site.close()

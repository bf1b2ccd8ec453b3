"""A real RabbitMQ on loopback, of Debian's package: to freeze, to kill, to start again on the same data."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import amqp
import pytest

from tests.support.tls import Authority
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.port import free_port

_PROGRAM: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_PASSWORD: Final = "of-these-tests"
ENOUGH: Final = (
    r"^(sessions|syncs|maintenance|lookups|threadsync.*|celeryev.*|.*celery\.pidbox|amq\.default)$"
)
"""The rights of docs/operate/brokers.md, for each of configure, write and read."""

USERS: Final[Mapping[str, Mapping[str, str]]] = {
    "threadsync": {"configure": ".*", "write": ".*", "read": ".*"},
    # As docs/operate/brokers.md says.
    "confined": dict.fromkeys(("configure", "write", "read"), ENOUGH),
    # One that may not declare what is missing.
    "limited": {"configure": "", "write": ".*", "read": ".*"},
}
_VHOSTS: Final = 16
"""Of each kind: a test takes one that no other test uses."""


def needs_rabbitmq() -> None:
    """Skip where the package is missing."""
    if not _PROGRAM.exists() or shutil.which("epmd") is None:
        pytest.skip("rabbitmq-server is not installed")


class RabbitMQ:
    """One node. ``url`` leads to a virtual host whose queues are of a kind by default.

    Args:
        authority: then it listens with TLS alone, and lets in who shows a certificate of it.
    """

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self._folder = folder
        self._authority = authority
        self._client = authority.issue("rabbitmq-client") if authority else None
        self.port = free_port()
        self._others = [free_port(), free_port()]
        self._epmd: Child | None = None
        self._child: Child | None = None
        self._taken = {"classic": 0, "quorum": 0}

    def start(self) -> None:
        """Return when it takes connections, some 8 s later; at once if it runs."""
        if self._child is not None and self._child.poll() is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._configure()
        env = self._environment()
        if self._epmd is None:
            argv = ["epmd", "-address", "127.0.0.1", "-port", env["ERL_EPMD_PORT"]]
            self._epmd = Child(argv, log_path=self._folder / "epmd.log", env=env)
        self._child = Child([str(_PROGRAM)], log_path=self._folder / "server.log", env=env)
        wait_until(self._answers, "RabbitMQ answers", timeout=90)

    @property
    def data(self) -> Path:
        """Its messages and all else that it keeps."""
        return self._folder / "data"

    def url(self, kind: str = "classic", user: str = "threadsync") -> str:
        """The address of a virtual host that no other test uses."""
        self._taken[kind] += 1
        assert self._taken[kind] <= _VHOSTS, "name more virtual hosts in tests/support/rabbitmq.py"
        return self.url_of(f"{kind}{self._taken[kind]}", user)

    def url_of(self, vhost: str, user: str = "threadsync") -> str:
        if self._authority is None:
            return f"amqp://{user}:{_PASSWORD}@127.0.0.1:{self.port}/{vhost}"
        query = self._authority.query(self._client)
        return f"amqps://{user}:{_PASSWORD}@localhost:{self.port}/{vhost}?{query}"

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT thaws it."""
        # The group: its first process is a shell.
        assert self._child is not None
        os.killpg(self._child.pid, number)

    def control(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``, which takes some seconds."""
        argv = [str(_PROGRAM.with_name("rabbitmqctl")), *arguments]
        subprocess.run(argv, env=self._environment(), check=True, capture_output=True, timeout=60)

    def kill(self) -> None:
        """End it as a power cut does, but for what the kernel has."""
        assert self._child is not None
        self._child.kill()

    def stop(self) -> None:
        for child in (self._child, self._epmd):
            if child is not None:
                child.kill()

    def _answers(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, self._child.log_tail()
        tls: dict[str, object] | bool = False
        if self._authority is not None and self._client is not None:
            files = {"ca_certs": self._authority.ca, "certfile": self._client.certfile}
            tls = {**files, "keyfile": self._client.keyfile, "server_hostname": "localhost"}
        # It listens before it has read its virtual hosts.
        vhost = f"quorum{_VHOSTS}"
        try:
            with amqp.Connection(
                f"localhost:{self.port}",
                "threadsync",
                _PASSWORD,
                virtual_host=vhost,
                connect_timeout=2,
                ssl=tls,
            ):
                return True
        except (OSError, amqp.exceptions.AMQPError):
            return False

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        distribution, epmd = map(str, self._others)
        return {
            **os.environ,
            "HOME": folder,
            "RABBITMQ_NODENAME": f"threadsync{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/no-such-file",
            "RABBITMQ_DIST_PORT": distribution,
            "ERL_EPMD_PORT": epmd,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Two schedulers do, and leave the machine's cores to the others.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def _configure(self) -> None:
        lines = [f"load_definitions = {self._folder}/definitions.json", "log.file.level = warning"]
        if self._authority is None:
            lines.append(f"listeners.tcp.1 = 127.0.0.1:{self.port}")
        else:
            server = self._authority.issue("rabbitmq")
            lines += [
                "listeners.tcp = none",
                f"listeners.ssl.1 = 127.0.0.1:{self.port}",
                f"ssl_options.cacertfile = {self._authority.ca}",
                f"ssl_options.certfile = {server.certfile}",
                f"ssl_options.keyfile = {server.keyfile}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = true",
            ]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self._folder / "definitions.json").write_text(json.dumps(_definitions()))


def _definitions() -> dict[str, object]:
    vhosts = [f"{kind}{number}" for kind in ("classic", "quorum") for number in range(1, _VHOSTS + 1)]
    return {
        "users": [
            {"name": name, "password_hash": _hashed(_PASSWORD), "tags": "administrator"} for name in USERS
        ],
        "vhosts": [
            {"name": name, "metadata": {"default_queue_type": name.rstrip("0123456789")}} for name in vhosts
        ],
        "permissions": [
            {"user": user, "vhost": vhost, **rights} for vhost in vhosts for user, rights in USERS.items()
        ],
    }


def _hashed(password: str) -> str:
    """RabbitMQ's own way: https://www.rabbitmq.com/docs/passwords#computing-password-hash."""
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()

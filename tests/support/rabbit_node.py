"""A RabbitMQ node of Debian's for the tests: on loopback, with data of its own, to be killed and frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil
import pytest

from tests.support.tls import Authority
from tests.support.waiting import wait_until
from worker.local.child import Child
from worker.local.servers.port import free_port

# Debian's /usr/sbin/rabbitmq-server changes the user, and so the data's owner.
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
_START_SECONDS = 90
"""Eight on a machine of its own."""


class RabbitNode:
    """One node. What it confirmed survives ``kill``; the vhosts too.

    Args:
        directory: for data, logs and the cookie; start a second time there to find all of it again.
        authority: TLS by a certificate of its, on ``tls_port``.
        client_certificates: without one of the authority's, no client is let in there.
    """

    def __init__(
        self, directory: Path, *, authority: Authority | None = None, client_certificates: bool = False
    ) -> None:
        if not (_PROGRAMS / "rabbitmq-server").exists() or shutil.which("epmd") is None:
            pytest.skip("no rabbitmq-server here")
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self._distribution, self._names = free_port(), free_port(), free_port()
        self.tls_port = free_port() if authority else None
        self._node: Child | None = None
        self._epmd: Child | None = None
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-such-file"),
            # A node of the tests needs no more.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 1:1 +sbwt none {_LOOPBACK}",
        }
        (directory / "plugins").write_text("[].\n")
        (directory / "rabbitmq.conf").write_text(self._config(authority, client_certificates))

    @property
    def is_alive(self) -> bool:
        return self._node is not None and self._node.poll() is None

    def url(self, vhost: str = "/", user: str = "guest:guest") -> str:
        """Without TLS."""
        return f"amqp://{user}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def tls_url(self, vhost: str = "/", user: str = "guest:guest") -> str:
        """With TLS; ``?`` and the authority's ``query`` are to be added."""
        return f"amqps://{user}@127.0.0.1:{self.tls_port}/{quote(vhost, safe='')}"

    def start(self) -> RabbitNode:
        """Start it, and return when it takes connections."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start it and return at once."""
        log = self._directory / "process.log"
        if self._epmd is None or self._epmd.poll() is not None:
            argv = ["epmd", "-port", str(self._names), "-address", "127.0.0.1", "-relaxed_command_check"]
            self._epmd = Child(argv, log_path=log, env=self.env, cwd=self._directory)
        argv = [str(_PROGRAMS / "rabbitmq-server")]
        self._node = Child(argv, log_path=log, env=self.env, cwd=self._directory)

    def wait_until_ready(self) -> None:
        """Return when what was launched takes connections."""

        def has_started() -> bool:
            return not self.is_alive or self.answers()

        wait_until(has_started, "RabbitMQ answers", _START_SECONDS)
        assert self._node is not None
        assert self.is_alive, self._node.log_tail()

    def answers(self) -> bool:
        """True when it lets us log in."""
        import amqp

        try:
            with contextlib.closing(
                amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=2, login_method="PLAIN")
            ) as connection:
                connection.connect()
                return True
        except (OSError, amqp.AMQPError):
            return False

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``, which takes some seconds: one call may do several things by ``eval``."""
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), *arguments],
            env=self.env,
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add_vhost(self, name: str, default_queue_type: str | None = None) -> str:
        """A virtual host that guest may use; its URL."""
        kind = ["--default-queue-type", default_queue_type] if default_queue_type else []
        self.control("add_vhost", name, *kind)
        self.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url(name)

    def kill(self) -> None:
        """SIGKILL, as a crash does it."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._node is not None:
            self._node.kill()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop its processes in their tracks; connections stay, and nothing answers."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all of it."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()

    def _processes(self) -> list[psutil.Process]:
        if self._node is None or self._node.poll() is not None:
            return []
        main = psutil.Process(self._node.pid)
        return [main, *main.children(recursive=True)]

    def _config(self, authority: Authority | None, client_certificates: bool) -> str:
        lines = [
            "log.console = true",
            "log.console.level = warning",
            "loopback_users.guest = true",
            # A full disk of the machine is not what is tested.
            "disk_free_limit.absolute = 1MB",
            "vm_memory_high_watermark.absolute = 1GB",
        ]
        if authority is not None:
            server = authority.issue("rabbitmq")
            verify = ("verify_peer", "true") if client_certificates else ("verify_none", "false")
            lines += [
                f"listeners.ssl.default = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {authority.ca}",
                f"ssl_options.certfile = {server.certfile}",
                f"ssl_options.keyfile = {server.keyfile}",
                f"ssl_options.verify = {verify[0]}",
                f"ssl_options.fail_if_no_peer_cert = {verify[1]}",
            ]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> RabbitNode:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

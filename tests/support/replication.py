"""A primary and its standby, real ones, to kill, freeze, demote and promote."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from tests.support.servers import POSTGRES_SETTINGS, ask
from tests.support.waiting import wait_until
from worker.db.pool import new_pool
from worker.db.sessions.store import SessionStore
from worker.local.servers.cluster import SUPERUSER, postgres_program
from worker.local.servers.identity import unprivileged
from worker.local.servers.postgres import EmbeddedPostgres
from worker.operate.private_folder import write_private

# What is committed on one is on the other, so that each lost row is a lost command.
_SYNCHRONOUS: LiteralString = "ALTER SYSTEM SET synchronous_standby_names = '*'"
_RELOAD: LiteralString = "SELECT pg_reload_conf()"


class Pair:
    """``primary`` and ``standby``; ``url`` names both, and not which of them takes writes."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary = primary
        self.standby = standby
        self._frozen: list[psutil.Process] = []

    @property
    def url(self) -> str:
        parts = urlsplit(self.primary.url)
        login = parts.netloc.rpartition("@")[0]
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return urlunsplit(parts._replace(netloc=f"{login}@{hosts}"))

    def freeze(self) -> None:
        """Stop all processes of the primary: it takes connections, as the kernel does, and says nothing."""
        assert self.primary.pid
        main = psutil.Process(self.primary.pid)
        main.suspend()
        self._frozen = [main, *main.children(recursive=True)]
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self._frozen = []

    def demote(self) -> None:
        """Make the primary read-only as a managed switchover does: no session is ended."""
        ask(self.primary.url, "ALTER SYSTEM SET default_transaction_read_only = on")
        ask(self.primary.url, _RELOAD)
        shown: LiteralString = "SELECT current_setting('default_transaction_read_only')"
        wait_until(lambda: ask(self.primary.url, shown) == "on", "the primary is read-only")

    def promote(self) -> None:
        """Let the standby take writes, without waiting for the primary."""
        ask(self.standby.url, "SELECT pg_promote()")
        ask(self.standby.url, "ALTER SYSTEM RESET synchronous_standby_names")
        ask(self.standby.url, _RELOAD)

    def stop(self) -> None:
        self.thaw()
        for server in (self.standby, self.primary):
            server.kill()
            server.stop()


@contextmanager
def replicated(folder: Path) -> Iterator[Pair]:
    """Start a pair with a migrated database; each commit waits until both have it."""
    primary = EmbeddedPostgres(folder / "primary", settings=POSTGRES_SETTINGS)
    pair = Pair(primary, EmbeddedPostgres(folder / "standby", settings=POSTGRES_SETTINGS))
    try:
        primary.start()
        with new_pool(primary.url) as pool:
            SessionStore(pool).create_tables()
        _copy(primary, folder / "standby")
        pair.standby.start()
        ask(primary.url, _SYNCHRONOUS)
        ask(primary.url, _RELOAD)
        synchronous: LiteralString = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: ask(primary.url, synchronous) == "sync", "the standby is synchronous")
        yield pair
    finally:
        pair.stop()


def _copy(primary: EmbeddedPostgres, target: Path) -> None:
    target.mkdir(mode=0o700)
    write_private(target / "password", (primary.password))
    command = [
        *unprivileged().prefix,
        postgres_program("pg_basebackup"),
        *("--host=127.0.0.1", f"--port={primary.port}", f"--username={SUPERUSER}"),
        *(f"--pgdata={target / 'data'}", "--write-recovery-conf", "--checkpoint=fast"),
    ]
    unprivileged().hand_over(target)
    env = {**os.environ, "PGPASSWORD": primary.password}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def takes_writes(url: str) -> bool:
    """Return whether a connection made now could write."""
    with contextlib.suppress(psycopg.Error):
        return ask(url, "SELECT current_setting('transaction_read_only')") == "off"
    return False

"""A Postgres 18 server of our own."""

from __future__ import annotations

import signal
from typing import ClassVar

import psycopg
from psycopg import sql

from worker.local.child import Child
from worker.local.servers.cluster import SUPERUSER, create_cluster, postgres_program
from worker.local.servers.identity import unprivileged
from worker.local.servers.server import EmbeddedServer, server_environment

DATABASE = "threadsync"


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres server with the database ``threadsync``; ``settings`` are passed as ``-c name=value``."""

    name = "postgres"
    program = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: sessions are ended, data is flushed
    defaults: ClassVar = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Else it logs the beginning of what people wrote with a row that it refuses.
        "log_error_verbosity": "terse",
        "log_parameter_max_length_on_error": "0",
    }
    # The processes of a server that was killed need a moment to notice.
    passing_faults = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')

    @property
    def url(self) -> str:
        """URL for libpq and psycopg, password included."""
        return self._url(DATABASE)

    def _prepare(self) -> None:
        # No server runs here any more, but its pid may be another process's by now: Postgres would refuse.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        create_cluster(self._data, self.password, unprivileged())
        unprivileged().hand_over(self._data)

    def _spawn(self) -> Child:
        settings = {**self._settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Child(
            [postgres_program("postgres"), "-D", str(self._data), *options],
            prefix=unprivileged().prefix,
            log_path=self.log_path,
            env=server_environment(),
            death_signal=self.stop_signal,
        )

    def _answers(self, child: Child) -> bool:
        if not self._says_ready(child):
            return False
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=2) as connection:
                self._create_database(connection)
        except psycopg.OperationalError:
            return False
        return True

    def _says_ready(self, child: Child) -> bool:
        """Read lines 1 and 8 of the pid file: https://www.postgresql.org/docs/18/storage-file-layout.html."""
        try:
            lines = (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready"

    def _create_database(self, connection: psycopg.Connection) -> None:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if not known:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

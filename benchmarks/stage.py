"""The servers of a benchmark, with a new database and an empty broker for each run."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg.sql import SQL, Identifier

from benchmarks.threads import INSERT_THREADS
from worker.db.migrate import migrate
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

# Every commit is on disk before it is answered, as by default. No checkpoint begins by itself within a run.
POSTGRES_SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "max_connections": "200",
}
# Valkey's default for its log: an acknowledged message may be lost when the power is cut within a second.
# Nothing is rewritten by itself within a run.
VALKEY_SETTINGS: Final = {"appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"}
SESSIONS: Final = 10_000
"""Number of sessions before a run. A plan that Postgres makes for an empty table reads the whole table, and a
connection keeps it for a filled one, at a fifth of the speed, which no installation has for long."""

_REPORT_SECONDS: Final = 10
_OTHERS: Final = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() LIMIT 1
"""
_SCANS: Final = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'thread_sessions'"


@dataclass(frozen=True)
class Installation:
    """An empty broker, and a database with ``sessions`` sessions, for one run.

    ``servers`` are their main processes, by name. Clients wait for ``wait_replicas`` replicas.
    """

    database_url: str
    broker_url: str
    results_url: str
    sessions: int
    servers: Mapping[str, int]
    wait_replicas: int = 0

    @property
    def env(self) -> dict[str, str]:
        """Environment of the run's processes, without our settings in the shell."""
        ours = {"REDIS_URL", "LOG_LEVEL", "LOG_FORMAT"}
        env = {name: value for name, value in os.environ.items() if name not in ours}
        return env | {
            "DATABASE_URL": self.database_url,
            "CELERY_BROKER_URL": self.broker_url,
            "CELERY_RESULT_BACKEND": self.results_url,
            "BROKER_WAIT_REPLICAS": str(self.wait_replicas),
        }

    def count_sessions(self) -> int:
        """Count the sessions that the run has made."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT count(*) FROM thread_sessions").fetchone()
        return (int(row[0]) if row else 0) - self.sessions

    def table_scans(self) -> int:
        """Count the statements of the run that have read the whole table of sessions.

        To be asked before others read it, after the worker has ended: a connection reports what it did when
        it is closed, or up to a minute late.
        """
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            deadline = time.monotonic() + _REPORT_SECONDS
            while connection.execute(_OTHERS).fetchone() and time.monotonic() < deadline:
                time.sleep(0.02)
            row = connection.execute(_SCANS).fetchone()
        return int(row[0]) if row else 0


class Stage:
    """The servers, Postgres and Valkey, with their data in ``folder``."""

    def __init__(self, folder: Path, appendfsync: str) -> None:
        self.valkey_settings = {**VALKEY_SETTINGS, "appendfsync": appendfsync}
        self._postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        self.valkey = EmbeddedValkey(folder / "valkey", settings=self.valkey_settings)
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()
        self._current: str | None = None

    def fresh(self, sessions: int = SESSIONS) -> Installation:
        """Make a new installation for a run, and remove the former one."""
        template = self._template(sessions)
        name = f"run_{next(self._numbers)}"
        with psycopg.connect(self._database("postgres"), autocommit=True) as connection:
            if self._current:
                drop = SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self._current))
                connection.execute(drop)
            copy = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
            connection.execute(copy)
            # What the run before has left to be written must not be written in this one.
            connection.execute("CHECKPOINT")
        self._current = name
        self._empty_valkey()
        urls = self._database(name), self._broker(0), self._broker(1)
        servers = {server.name: server.pid or 0 for server in (self._postgres, self.valkey)}
        return Installation(*urls, sessions, servers)

    def versions(self) -> Mapping[str, str]:
        """Return the servers' versions."""
        with psycopg.connect(self._database("postgres")) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        with redis.Redis.from_url(self._broker(0)) as client:
            info: Any = client.info("server")
        return {"postgres": str(row[0]) if row else "", "valkey": info["valkey_version"]}

    def __enter__(self) -> Stage:
        try:
            self._postgres.start()
            self.valkey.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self.valkey.stop()
        self._postgres.stop()

    def _template(self, sessions: int) -> str:
        name = f"template_{sessions}"
        if name not in self._templates:
            with psycopg.connect(self._database("postgres"), autocommit=True) as connection:
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            with psycopg.connect(self._database(name), autocommit=True) as connection:
                migrate(connection)
                connection.execute(INSERT_THREADS, [sessions])
                connection.execute("VACUUM ANALYZE thread_sessions")
            self._templates.add(name)
        return name

    def _empty_valkey(self) -> None:
        with redis.Redis.from_url(self._broker(0)) as client:
            client.flushall()
            # The log of the run before would otherwise be carried along.
            with suppress(redis.ResponseError):
                client.bgrewriteaof()
            while client.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.01)

    def _database(self, name: str) -> str:
        return urlunsplit(urlsplit(self._postgres.url)._replace(path=f"/{name}"))

    def _broker(self, number: int) -> str:
        return urlunsplit(urlsplit(self.valkey.url)._replace(path=f"/{number}"))

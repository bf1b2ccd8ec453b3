"""The servers that the tests run on: real ones, one of each a session, started when a test first asks."""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg.sql import SQL, Composed, Identifier, Literal

from worker.db.migrate import migrate
from worker.db.roles import CONSOLE, MIGRATE, READ, RUN, create_login, create_roles
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

# No test cuts the power, so nothing need wait for the disk. What was committed survives SIGKILL all the same.
POSTGRES_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    # The data may lie in memory, and databases are copied without a line in the log.
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    # Nobody guesses these passwords, and each of thousands of connections would hash one 4,096 times, twice.
    "scram_iterations": "1",
}
VALKEY_SETTINGS = {"appendfsync": "no", "databases": "64"}

_TEMPLATE = "migrated_template"
_PASSWORD = "of-these-tests"


class PostgresForTests:
    """A server with a migrated template database; ``database`` copies it, so that each test has its own."""

    def __init__(self, data_dir: Path) -> None:
        self.server = EmbeddedPostgres(data_dir, settings=POSTGRES_SETTINGS)
        self._numbers = itertools.count(1)
        self._administrator: psycopg.Connection | None = None

    def start(self) -> None:
        self.server.start()
        # Hashed by `initdb`, before these settings.
        self._administrate(SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(Literal(self.server.password)))
        self._administrate(SQL("CREATE DATABASE {}").format(Identifier(_TEMPLATE)))
        with psycopg.connect(self.url_of(_TEMPLATE), autocommit=True) as connection:
            create_roles(connection)
            for group in (MIGRATE, RUN, CONSOLE, READ):
                create_login(connection, _login(group), _PASSWORD, group)
        with psycopg.connect(self.url_of(_TEMPLATE, MIGRATE), autocommit=True) as connection:
            migrate(connection)

    def stop(self) -> None:
        self._leave()
        self.server.stop()

    def url_of(self, database: str, group: str | None = None) -> str:
        """The URL of one of the server's databases, for a member of a group role; else for the superuser."""
        url = urlunsplit(urlsplit(self.server.url)._replace(path=f"/{database}"))
        return as_member(url, group) if group else url

    def for_administrator(self, url: str) -> str:
        """The URL of the same database for its administrator."""
        return self.url_of(urlsplit(url).path.removeprefix("/"))

    @contextmanager
    def database(self, template: str = _TEMPLATE) -> Iterator[str]:
        """The URL of a new database, which is dropped afterwards, open connections or not.

        A migrated database is for a login with a worker's rights, any other for its owner.
        """
        # A test that ended the server, and then itself, leaves the others unharmed.
        self.server.start()
        name = f"test_{next(self._numbers)}"
        owner = Identifier(_login(MIGRATE))
        # By files: the default writes every page to the log, too.
        copy = SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
            Identifier(name), Identifier(template), owner
        )
        self._administrate(copy)
        try:
            yield self.url_of(name, RUN if template == _TEMPLATE else MIGRATE)
        finally:
            self.server.start()
            self._administrate(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _administrate(self, statement: Composed) -> None:
        """Execute by the administrator's connection, which is replaced when a test ended the server."""
        if self._administrator and not _is_alive(self._administrator):
            self._leave()
        if self._administrator is None:
            self._administrator = psycopg.connect(self.url_of("postgres"), autocommit=True)
        self._administrator.execute(statement)

    def _leave(self) -> None:
        if self._administrator:
            self._administrator.close()
        self._administrator = None


class ValkeyForTests:
    """A server with many logical databases; ``broker`` hands out an empty one."""

    def __init__(self, data_dir: Path) -> None:
        self.server = EmbeddedValkey(data_dir, settings=VALKEY_SETTINGS)
        # In turn, so that a process that a test left behind does not eat the next test's messages.
        self._numbers = itertools.cycle(range(1, int(VALKEY_SETTINGS["databases"])))

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def broker(self) -> str:
        """The URL of an empty logical database."""
        self.server.start()
        url = urlunsplit(urlsplit(self.server.url)._replace(path=f"/{next(self._numbers)}"))
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


def _is_alive(connection: psycopg.Connection) -> bool:
    """Return False if the server has closed the connection: then there is an end to read."""
    return not select.select([connection.fileno()], [], [], 0)[0]


def as_member(url: str, group: str) -> str:
    """The same database, logged in as a member of a group role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{_login(group)}:{_PASSWORD}@{host}"))


def as_owner(url: str) -> str:
    """The URL of the same database for the owner of its tables."""
    return as_member(url, MIGRATE)


def _login(group: str) -> str:
    return f"{group}_login"


def ask(url: str, statement: LiteralString, *parameters: object) -> object:
    """Return the first value of a statement's result, or None."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

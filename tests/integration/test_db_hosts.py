"""Several database hosts, the first of which does not answer, in each place where hosts may be named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.support.relay import Relay
from tests.support.servers import PostgresForTests
from threadsync.errors import DatabaseUnavailable
from worker.db import AsyncSessionStore, SessionStore
from worker.db.pool import new_async_pool, new_pool, single_connection


@pytest.fixture(params=["service", "environment", "prefer-standby"])
def silent_first(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Yield a URL that names two hosts: one that accepts connections and never answers, and a good one."""
    parts = urlsplit(database_url)
    login, _, here = parts.netloc.rpartition("@")
    with Relay(parts.port or 0) as relay:
        relay.is_silent = True
        both = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{relay.port},{here}"))
        hosts, ports = "127.0.0.1,127.0.0.1", f"{relay.port},{parts.port}"
        if request.param == "service":
            file = tmp_path / "services"
            file.write_text(f"[ours]\nhost={hosts}\nport={ports}\ndbname={parts.path[1:]}\n")
            monkeypatch.setenv("PGSERVICEFILE", str(file))
            yield f"postgresql://{login}@?service=ours"
        elif request.param == "environment":
            monkeypatch.setenv("PGHOST", hosts)
            monkeypatch.setenv("PGPORT", ports)
            yield f"postgresql://{login}@{parts.path}"
        else:
            yield f"{both}?target_session_attrs=prefer-standby"


def test_a_silent_host_is_not_asked_again(silent_first: str) -> None:
    """A host that did not answer costs later connections no time-out."""
    with new_pool(silent_first, max_size=1) as pool:
        pool.timeout = 20  # seconds: the first connection has to find out
        store = SessionStore(pool)
        store.get_or_create_session("C1", "1.1", "U1")
        pool.timeout = 1.9  # seconds: less than a silent host costs
        for _ in range(4):
            pool.drain()
            assert store.get_or_create_session("C1", "1.1", "U1").outcome == "unchanged"


def test_options_that_stand_elsewhere_hold(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `options` of a service or of PGOPTIONS hold beside our own."""
    parts = urlsplit(database_url)
    file = tmp_path / "services"
    file.write_text(
        f"[ours]\nhost=127.0.0.1\nport={parts.port}\ndbname={parts.path[1:]}\noptions=-cwork_mem=7MB\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    login = parts.netloc.rpartition("@")[0]
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB")
    for url, work_mem in ((f"postgresql://{login}@?service=ours", "7MB"), (database_url, "5MB")):
        with single_connection(url) as connection:
            [row] = connection.execute(
                "SELECT current_setting('work_mem') AS w, current_setting('TimeZone') AS z"
            ).fetchall()
        assert row == {"w": work_mem, "z": "UTC"}


@pytest.mark.parametrize("preferred", ["any", "prefer-standby"])
def test_of_several_hosts_a_read_only_one_is_left(
    postgres: PostgresForTests, database_url: str, preferred: str
) -> None:
    """A host that turned read-only is left once a command has met it, even if the URL takes any host."""
    parts = urlsplit(database_url)
    login, _, here = parts.netloc.rpartition("@")
    url = urlunsplit(
        parts._replace(netloc=f"{login}@{here},{here}", query=f"target_session_attrs={preferred}")
    )
    database = Identifier(parts.path[1:])
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as administrator:
        administrator.execute(
            SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database)
        )
        with new_pool(url, max_size=1) as pool:
            store = SessionStore(pool)
            with pytest.raises(DatabaseUnavailable, match="ReadOnlySqlTransaction"):
                store.get_or_create_session("C1", "1.1", "U1")
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                store.get_session_by_thread("C1", "1.1")
            administrator.execute(
                SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database)
            )
            pool.timeout = 20  # seconds: the pool pauses between two attempts
            assert store.get_or_create_session("C1", "1.1", "U1").outcome == "created"


SILENT = "127.0.0.2"


@pytest.fixture
def one_name(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield a URL whose host name has two addresses, the first of which never answers."""
    parts = urlsplit(database_url)
    login = parts.netloc.rpartition("@")[0]
    try:
        listener = socket.create_server((SILENT, parts.port or 0))
    except OSError:
        pytest.skip("this machine has one loopback address only")

    def resolver(host: str, port: object, *args: object, **options: object) -> list[Any]:
        assert host == "pg.test"
        answers = [(SILENT, parts.port), ("127.0.0.1", parts.port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", answer) for answer in answers]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with listener:
        yield urlunsplit(parts._replace(netloc=f"{login}@pg.test:{parts.port}"))


def test_a_silent_address_of_a_name_is_not_asked_again(one_name: str) -> None:
    """An address that did not answer costs later connections no time-out; the host's name stays known."""
    with new_pool(one_name, max_size=1) as pool:
        pool.timeout = 20  # seconds: the first connection has to find out
        store = SessionStore(pool)
        store.get_or_create_session("C1", "1.1", "U1")
        pool.timeout = 1.9  # seconds: less than a silent address costs
        for _ in range(4):
            pool.drain()
            assert store.get_or_create_session("C1", "1.1", "U1").outcome == "unchanged"
        with pool.connection() as connection:
            assert (connection.info.host, connection.info.hostaddr) == ("pg.test", "127.0.0.1")


async def test_nor_by_asyncio(one_name: str) -> None:
    """An address that did not answer costs later asyncio connections no time-out either."""
    async with new_async_pool(one_name, max_size=1) as pool:
        pool.timeout = 20  # seconds: the first connection has to find out
        store = AsyncSessionStore(pool)
        await store.get_or_create_session("C1", "1.1", "U1")
        pool.timeout = 1.9  # seconds: less than a silent address costs
        for _ in range(4):
            await pool.drain()
            assert (await store.get_or_create_session("C1", "1.1", "U1")).outcome == "unchanged"


def test_a_lookup_has_a_limit(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name lookup that hangs ends at its limit with DatabaseUnavailable and is not repeated."""
    asked: list[object] = []
    over = threading.Event()

    def resolver(host: object, *args: object, **options: object) -> list[Any]:
        asked.append(host)
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    monkeypatch.setattr("worker.db.names.LOOK_UP_SECONDS", 0.1)
    parts = urlsplit(database_url)
    login = parts.netloc.rpartition("@")[0]
    url = urlunsplit(parts._replace(netloc=f"{login}@pg.test:{parts.port}"))
    try:
        with pytest.raises(DatabaseUnavailable, match=r"failed to resolve host 'pg\.test'"):
            single_connection(url).__enter__()
    finally:
        over.set()
    assert asked == ["pg.test"]

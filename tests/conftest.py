"""Fixtures of all tests. Servers start when the first test asks for them, and stop at the end."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from fcntl import LOCK_EX, flock
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.installation import Installation, install
from tests.support.memory import memory_folder
from tests.support.servers import POSTGRES_SETTINGS, PostgresForTests, ValkeyForTests
from tests.support.stores import AT_ONCE, STORES, store_of
from threadsync.config import Settings, get_settings
from worker.db import AsyncSessionStore, SessionStore, close_db
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import Pool, new_async_pool, new_pool
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

# How fast examples are drawn says nothing about us: the first ones build Unicode tables, on a busy machine.
settings.register_profile("threadsync", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("threadsync")


# A shell that starts this in the background has it ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG: Final = Path(__file__).parent / "long"

SLOW: Final = (
    *("test_worker_kills", "test_up", "test_console", "test_prefork", "test_compose", "test_doctor"),
    *("test_batches", "test_embedded_postgres", "test_full_broker", "test_metrics", "test_waiting_messages"),
    *("test_handlers_socket_mode", "test_session_import", "test_flower", "test_cli_starts", "test_lane"),
    *("test_deaths", "test_sync_crashes", "test_db_pool", "test_transport_states", "test_suspects"),
    *("test_up_playground",),
)
"""The slowest files. First, so that none is left over when all the others are done."""

# Collecting makes a million objects, and none of them is garbage.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow files before the others; else in the order in which they were found."""
    for path, of_a_file in groupby(items, lambda item: item.path):
        if path.is_relative_to(LONG):
            for item in of_a_file:
                item.add_marker("long")
    places = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path.stem, len(SLOW)))


def pytest_collection_finish() -> None:
    """Let the garbage collector spare what stays until the end: to go through it takes it half a second."""
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the settings of the shell that it was started in, or those of another test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    get_settings.cache_clear()
    yield
    close_db()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres(prepared_postgres: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresForTests]:
    """The session's Postgres. To end it in a test, start one of your own."""
    with memory_folder(tmp_path_factory.mktemp("postgres")) as folder:
        postgres = PostgresForTests(Path(shutil.copytree(prepared_postgres, folder / "server")))
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyForTests]:
    """The session's Valkey. To end it in a test, start one of your own."""
    valkey = ValkeyForTests(tmp_path_factory.mktemp("valkey"))
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.stop()


@pytest.fixture
def database_url(postgres: PostgresForTests) -> Iterator[str]:
    """A migrated database with no rows, of this test alone."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: PostgresForTests) -> Iterator[str]:
    """A database without our schema, of this test alone."""
    with postgres.database(template="template1") as url:
        yield url


@pytest.fixture
def broker_url(valkey: ValkeyForTests) -> str:
    """An empty logical database of Valkey, of this test alone."""
    return valkey.broker()


@pytest.fixture
def process_env(database_url: str, broker_url: str) -> dict[str, str]:
    """The environment of a process of ours on this test's database and broker."""
    return {**os.environ, "DATABASE_URL": database_url, "CELERY_BROKER_URL": broker_url}


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    """An open pool on this test's database, with its first connections."""
    with new_pool(database_url, max_size=8) as pool:
        # A connection that comes later is given a random age, and Hypothesis refuses that while it draws.
        pool.wait()
        yield pool


@pytest.fixture
def store(pool: Pool) -> SessionStore:
    """The worker's store on this test's database."""
    return SessionStore(pool)


@pytest.fixture
async def async_store(database_url: str) -> AsyncIterator[AsyncSessionStore]:
    """The asyncio store on this test's database."""
    async with new_async_pool(database_url, max_size=8) as pool:
        yield AsyncSessionStore(pool)


@pytest.fixture(params=STORES)
async def any_store(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[AsyncSessionStore]:
    """The sync and the async store, both awaited: one behaviour, two implementations."""
    async with store_of(request.param, database_url) as store:
        yield store


@pytest.fixture(params=[*STORES, AT_ONCE])
async def any_way(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[AsyncSessionStore]:
    """Both stores, and a third one that carries each command out as one of many."""
    async with store_of(request.param, database_url) as store:
        yield store


@pytest.fixture
def dead_letters(pool: Pool) -> DeadLetterStore:
    """The store of this test's dead letters."""
    return DeadLetterStore(pool)


@pytest.fixture
def installation(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> Iterator[Installation]:
    """One of this test's own, without a worker."""
    with install(postgres, valkey, tmp_path) as installation:
        yield installation


@pytest.fixture(scope="module")
def shared(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One with a running worker, for the tests of a module that leave it as it is."""
    with install(postgres, valkey, tmp_path_factory.mktemp("shared")) as installation, installation.worker():
        yield installation


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A broker for this test to freeze and kill, as `threadsync up` runs it: each write is on disk."""
    valkey = EmbeddedValkey(tmp_path / "valkey")
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.stop()


@pytest.fixture(scope="session")
def prepared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stopped server with a migrated database, to be copied: ``initdb`` takes a second.

    The processes of a run share it: the first one makes it.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = (
        tmp_path_factory.getbasetemp().with_name(f"prepared-{run}")
        if run
        else tmp_path_factory.mktemp("prepared")
    )
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "made").exists():
            _make_postgres(folder / "server")
            (folder / "made").touch()
    return folder / "server"


def _make_postgres(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder, settings=POSTGRES_SETTINGS)
    try:
        postgres.start()
        with new_pool(postgres.url) as pool:
            SessionStore(pool).create_tables()
    finally:
        postgres.stop()


@pytest.fixture
def own_postgres(prepared_postgres: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A migrated database for this test to stop and kill."""
    with memory_folder(tmp_path) as folder:
        shutil.copytree(prepared_postgres, folder / "postgres")
        postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()

"""A full disk of Postgres: commands wait, and run when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.support.installation import Installation
from tests.support.scale import scaled
from tests.support.servers import POSTGRES_SETTINGS, ask
from tests.support.waiting import wait_until
from worker.db.pool import new_pool
from worker.db.sessions.store import SessionStore
from worker.local.servers.identity import unprivileged
from worker.local.servers.postgres import EmbeddedPostgres

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


class SmallDisk:
    """A small disk in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                return

    def clear(self) -> None:
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    path.mkdir()
    mount = [
        str(shutil.which("mount")),
        "-t",
        "tmpfs",
        "-o",
        f"size={megabytes}m,mode=0755",
        "tmpfs",
        str(path),
    ]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run([str(shutil.which("umount")), "--lazy", str(path)], check=True)


def migrated(url: str) -> str:
    with new_pool(url) as pool:
        SessionStore(pool).create_tables()
    return url


def rows(url: str) -> int:
    found = ask(url, "SELECT count(*) FROM thread_sessions")
    assert isinstance(found, int)
    return found


def send(installation: Installation, first: int, count: int) -> None:
    for number in range(first, first + count):
        thread_ts = f"1700000000.{number:06}"
        installation.send("sessions.get_or_create", channel_id="C1", thread_ts=thread_ts, user_id="U" * 60)


def test_a_full_disk_is_waited_out(broker_url: str, tmp_path: Path) -> None:
    """While tables cannot grow (53100), commands wait; none is lost or becomes a dead letter."""
    count = scaled(5000, 1000)
    postgres = EmbeddedPostgres(tmp_path / "postgres", settings=POSTGRES_SETTINGS)
    with small_disk(tmp_path / "disk", 40) as disk:
        try:
            postgres.start()
            space = disk.path / "space"
            space.mkdir(mode=0o700)
            unprivileged().hand_over(space)
            ask(postgres.url, f"CREATE TABLESPACE small LOCATION '{space}'")
            ask(postgres.url, "CREATE DATABASE small TABLESPACE small")
            url = migrated(urlunsplit(urlsplit(postgres.url)._replace(path="/small")))
            with (
                closing(Installation(url, broker_url, tmp_path)) as installation,
                installation.worker() as worker,
            ):
                send(installation, 0, 10)
                wait_until(lambda: rows(url) == 10, "the worker is at work", 30)
                disk.fill()
                send(installation, 10, count)
                wait_until(lambda: worker.log.count("DiskFull") > 10, "commands meet the full disk", 60)
                assert installation.waiting() > 0
                disk.clear()
                wait_until(lambda: rows(url) == 10 + count, "all are carried out", 120)
                wait_until(lambda: installation.waiting() == 0, "no message is left", 30)
                assert installation.dead_letters() == []
                assert worker.is_alive, worker.log[-3000:]
        finally:
            postgres.stop()


def test_a_full_disk_that_ends_the_server_is_waited_out(broker_url: str, tmp_path: Path) -> None:
    """Commands wait when a full disk ends Postgres in a panic, until an operator starts it again."""
    count = scaled(5000, 1000)
    with small_disk(tmp_path / "disk", 160) as disk:
        settings = {**POSTGRES_SETTINGS, "max_wal_size": "32MB", "min_wal_size": "32MB", "wal_recycle": "off"}
        postgres = EmbeddedPostgres(
            disk.path / "postgres", settings=settings, log_path=tmp_path / "postgres.log"
        )
        try:
            postgres.start()
            url = migrated(postgres.url)
            with (
                closing(Installation(url, broker_url, tmp_path)) as installation,
                installation.worker() as worker,
            ):
                send(installation, 0, 10)
                wait_until(lambda: rows(url) == 10, "the worker is at work", 30)
                disk.fill()
                # Postgres may have ended already, as it also writes on its own.
                with suppress(psycopg.OperationalError):
                    ask(url, "SELECT pg_switch_wal()")
                send(installation, 10, count)
                wait_until(lambda: worker.log.count("task waits") > 10, "commands wait", 60)
                assert installation.waiting() > 0
                disk.clear()
                postgres.start()
                wait_until(lambda: rows(url) == 10 + count, "all are carried out", 120)
                wait_until(lambda: installation.waiting() == 0, "no message is left", 30)
                assert installation.dead_letters() == []
                assert worker.is_alive, worker.log[-3000:]
        finally:
            postgres.stop()

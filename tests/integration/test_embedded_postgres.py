"""The Postgres server that `threadsync up` and these tests run on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.waiting import wait_until
from worker.local.child import succeeds
from worker.local.failure import DataDirInUse, LocalServiceFailed
from worker.local.servers import identity
from worker.local.servers.identity import Identity
from worker.local.servers.postgres import EmbeddedPostgres

# Without fsync the tests do not wait for the disk; none of them cuts the power.
FAST = {"fsync": "off", "shared_buffers": "16MB"}

RUN_UNTIL_KILLED = """
import sys, threading
from pathlib import Path
from worker.local.servers.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"})
server.start()
print(server.pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server whose cluster was made by its first start, for tests that leave it as it is."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("new") / "postgres", settings=FAST)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def folder(prepared_postgres: Path, tmp_path: Path) -> Path:
    """Return the folder of a server that ran before: ``initdb`` takes a second."""
    return Path(shutil.copytree(prepared_postgres, tmp_path / "postgres"))


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that ran before."""
    server = EmbeddedPostgres(folder, settings=FAST)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def ask(server: EmbeddedPostgres, statement: str) -> object:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def kill_supervising_process(data_dir: Path) -> int:
    """Start a server in a process of its own, SIGKILL that process, return the server's pid."""
    owner = subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    return pid


def test_a_new_server_is_postgres_18_in_utf8_and_utc(new_server: EmbeddedPostgres) -> None:
    """A new server has the database `threadsync`, version 18, UTF-8 and UTC."""
    assert str(ask(new_server, "SHOW server_version")).startswith("18.")
    assert ask(new_server, "SELECT current_database()") == "threadsync"
    assert ask(new_server, "SHOW server_encoding") == "UTF8"
    assert ask(new_server, "SHOW timezone") == "UTC"


def test_nobody_gets_in_without_the_password(new_server: EmbeddedPostgres) -> None:
    """The server listens on 127.0.0.1 only and wants the password, which only its owner can read."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(new_server.url.replace(new_server.password, "guess"))
    addresses = {item.laddr.ip for item in psutil.Process(new_server.pid).net_connections() if item.laddr}
    assert addresses == {"127.0.0.1"}
    password_file = next(path for path in new_server.log_path.parent.iterdir() if path.name == "password")
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert new_server.password not in " ".join(psutil.Process(new_server.pid).cmdline())


def test_data_survives_stop_and_kill(server: EmbeddedPostgres) -> None:
    """Committed data survives `stop` and SIGKILL, at the same URL."""
    url = server.url
    ask(server, "CREATE TABLE kept AS SELECT 42 AS value")
    server.stop()
    server.start()
    assert ask(server, "SELECT value FROM kept") == 42
    server.kill()
    assert server.pid is None
    server.start()
    assert ask(server, "SELECT value FROM kept") == 42
    assert server.url == url


def test_kill_leaves_no_process(server: EmbeddedPostgres) -> None:
    """`kill` ends the server's backends too, although each is a session of its own."""
    backends = psutil.Process(server.pid).children(recursive=True)
    assert backends
    server.kill()
    left = [process for process in backends if process.is_running()]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_new_object_prefers_the_port_of_last_time(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A new object on the same directory uses the port of the old one."""
    server.stop()
    again = EmbeddedPostgres(tmp_path / "postgres", settings=FAST)
    again.start()
    try:
        assert again.url == server.url
    finally:
        again.stop()


def test_a_taken_port_is_replaced(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A server whose port was taken meanwhile starts on another port."""
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        again = EmbeddedPostgres(tmp_path / "postgres", port=server.port, settings=FAST)
        again.start()
        try:
            assert again.port != server.port
            assert ask(again, "SELECT 1") == 1
        finally:
            again.stop()


def test_a_port_lost_at_the_last_moment_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken between looking and listening costs another try, not the start."""
    with socket.create_server(("127.0.0.1", 0)) as winner:
        taken = winner.getsockname()[1]
        monkeypatch.setattr("worker.local.servers.port.is_free", lambda port: True)
        server = EmbeddedPostgres(tmp_path / "postgres", port=taken, settings=FAST)
        monkeypatch.setattr(server, "_preferred_port", taken)
        spawn = server._spawn

        def lose_once() -> object:
            child = spawn()
            server._preferred_port = None
            return child

        monkeypatch.setattr(server, "_spawn", lose_once)
        server.start()
        try:
            assert server.port != taken
            assert "Address already in use" in server.log_path.read_text()
        finally:
            server.stop()


def test_one_directory_has_one_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A second server on the same directory is refused with the pid of the first one's owner."""
    with pytest.raises(DataDirInUse, match=str(os.getpid())):
        EmbeddedPostgres(tmp_path / "postgres").start()
    assert ask(server, "SELECT 1") == 1


def test_a_fault_at_start_shows_the_log(tmp_path: Path) -> None:
    """An error at the start names the log and ends with Postgres' own words."""
    server = EmbeddedPostgres(tmp_path / "postgres", settings={"shared_buffers": "plenty"})
    with pytest.raises(LocalServiceFailed, match=r"(?s)exit code 1.*server\.log.*invalid value.*plenty"):
        server.start()
    assert server.pid is None


def test_a_killed_initdb_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    """Half a data folder of a killed `initdb` is deleted at the next start."""
    folder = tmp_path / "postgres"
    folder.mkdir(mode=0o700)
    half = folder / "initdb-half" / "data"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder, settings=FAST)
    server.start()
    try:
        assert ask(server, "SELECT 1") == 1
        assert not half.exists()
    finally:
        server.stop()


def test_a_stale_pid_file_does_not_block(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A pid file whose number now belongs to another process does not prevent a start."""
    server.stop()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as somebody:
        stale = f"{somebody.pid}\n{tmp_path / 'postgres' / 'data'}\n0\n0\n\n\n\nready\n"
        (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(stale)
        server.start()
        assert ask(server, "SELECT 1") == 1
        assert somebody.poll() is None
        somebody.kill()


def test_the_server_dies_with_the_process_that_started_it(folder: Path) -> None:
    """The server shuts down by itself after SIGKILL of its owner (Linux with util-linux)."""
    pid = kill_supervising_process(folder)
    wait_until(lambda: not psutil.pid_exists(pid), "the orphaned server is gone")


def test_an_orphan_is_replaced(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """A server that outlived its owner is stopped by the next start, and its data is kept."""
    ask(server, "CREATE TABLE kept AS SELECT 7 AS value")
    orphan = psutil.Process(server.pid)
    # What a dead owner leaves: a running server, and a lock without a holder.
    server._dir.release()
    successor = EmbeddedPostgres(tmp_path / "postgres", settings=FAST)
    successor.start()
    try:
        wait_until(lambda: server.poll() is not None, "the orphan is reaped")
        assert not orphan.is_running()
        assert ask(successor, "SELECT value FROM kept") == 7
    finally:
        successor.stop()


def test_the_server_outlives_the_thread_that_started_it(folder: Path) -> None:
    """A server started in a short-lived thread goes on after that thread has ended."""
    server = EmbeddedPostgres(folder, settings=FAST)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert ask(server, "SELECT 1") == 1
        server_process = psutil.Process(server.pid)
        assert server_process.is_running()
    finally:
        server.stop()


def test_stopping_shuts_down_in_good_order(server: EmbeddedPostgres) -> None:
    """`stop` shuts the server down cleanly although a client is connected."""
    with psycopg.connect(server.url):
        server.stop()
    assert "database system is shut down" in server.log_path.read_text()
    assert server.poll() == 0
    assert server.stop_signal == signal.SIGINT


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no other identity")
@pytest.mark.parametrize("who", [identity._namespace(), identity._nobody()], ids=["namespace", "nobody"])
def test_root_runs_it_as_somebody_else(
    who: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root runs the server as an unprivileged user below a closed folder, on data of an earlier start."""
    if not succeeds([*who.prefix, "true"]):
        pytest.skip("this machine does not allow it")
    (tmp_path / "closed").mkdir(mode=0o700)
    former = EmbeddedPostgres(tmp_path / "closed" / "postgres", settings=FAST)
    former.start()
    former.stop()
    monkeypatch.setattr("worker.local.servers.postgres.unprivileged", lambda: who)
    server = EmbeddedPostgres(tmp_path / "closed" / "postgres", settings=FAST)
    server.start()
    try:
        assert ask(server, "SELECT 1") == 1
        assert (tmp_path / "closed" / "postgres" / "data").stat().st_uid == who.owner
        assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()

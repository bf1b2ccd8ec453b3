"""A broker that refuses, a worker that runs and one that starts: what must hold whatever the reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.command_runs import run_in
from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer
from tests.support.refusals import Refusal
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, WorkerGroup
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed

NUMBER = 300


def wait_out(refusal: Refusal, server: RedisServer, database_url: str, folder: Path) -> None:
    """Sending fails and says why, workers live on, and one that starts then does too; then all goes on."""
    with (
        closing(Installation(database_url, server.url(), folder)) as installation,
        SessionClient(server.url()) as client,
        server.client() as admin,
        installation.worker("running") as running,
        starting_worker(installation) as starting,
    ):
        client.ping()
        # A connection that it keeps would not notice that no other can be made.
        client.close()
        send(installation)
        with refusal.until_mended(server, admin):
            wait_until(lambda: refusal.words in sending_fails(client), "sending says why", 20)
            starting.launch()
            wait_until(lambda: refusal.met in starting.log, "the one that starts has met it", 60)
            # Of a broker that refuses nothing but rights or writes the running worker's sign is still there.
            for what in ("worker", "beat"):
                code, said = health(installation, what)
                assert (code, "restart it" in said) == (0, False), said
                assert "takes no messages" in said
            assert running.is_alive
            assert starting.is_alive, starting.log[-3000:]
        wait_until(lambda: installation.waiting() == 0, "all have ended", 90)
        wait_until(lambda: not sending_fails(client), "sending succeeds", 20)
        wait_until(lambda: len(installation.sessions()) == NUMBER + 1, "all are carried out", 30)
        starting.wait_until_ready()
        assert running.is_alive
        for log in (running.log, starting.log):
            assert "AttributeError" not in log
            assert "Frequent restarts" not in log
        starting.stop()
        assert installation.dead_letters() == []


def send(installation: Installation, number: int = NUMBER) -> None:
    for n in range(number):
        installation.send("sessions.get_or_create", channel_id="C1", thread_ts=f"{n}.1", user_id="U1")


@contextmanager
def starting_worker(installation: Installation) -> Iterator[WorkerGroup]:
    """One that is launched later, and gone afterwards."""
    worker = installation.worker("starting")
    try:
        yield worker
    finally:
        worker.kill()


def sending_fails(client: SessionClient) -> str:
    """Return the error's words, or nothing if the command is taken."""
    try:
        client.get_or_create("C2", "1.1", "U1")
    except EnqueueFailed as exc:
        return str(exc)
    return ""


def health(installation: Installation, what: str) -> tuple[int, str]:
    done = run_in(installation.env, "health", what)
    return done.returncode, done.stdout + done.stderr


def run(installation: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**installation.env, "PYTHONPATH": str(ROOT)},
        cwd=installation.logs,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

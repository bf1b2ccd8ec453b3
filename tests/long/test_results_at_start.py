"""Workers whose result backend is of no use from the start: they start, and work at their pace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from worker.local.servers.port import free_port

COMMANDS = 40

Backend = Callable[[Path, ExitStack], str]


def away(folder: Path, stack: ExitStack) -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def wrong_name(folder: Path, stack: ExitStack) -> str:
    return "redis://no-such-host.invalid:6379/0"


def wrong_password(folder: Path, stack: ExitStack) -> str:
    server = stack.enter_context(RedisServer(folder))
    return f"redis://:another@127.0.0.1:{server.port}/0"


def no_tls_there(folder: Path, stack: ExitStack) -> str:
    """Start a server without TLS, which waits for the rest of a garbled command, or hangs up."""
    server = stack.enter_context(RedisServer(folder))
    return f"rediss://127.0.0.1:{server.port}/0"


def frozen(folder: Path, stack: ExitStack) -> str:
    server = stack.enter_context(RedisServer(folder))
    server.freeze()
    stack.callback(server.thaw)
    return server.url()


def memory(folder: Path, stack: ExitStack) -> str:
    return "cache+memory://"


@pytest.mark.parametrize("backend", [away, wrong_name, wrong_password, no_tls_there, frozen, memory])
def test_a_worker_starts_and_works_without_its_results(
    installation: Installation, backend: Backend, tmp_path: Path
) -> None:
    """A worker without its result backend starts, and carries out all commands without a dead letter."""
    with ExitStack() as stack:
        address = backend(tmp_path / "results", stack)
        worker = stack.enter_context(installation.worker(CELERY_RESULT_BACKEND=address))
        for number in range(COMMANDS):
            installation.send(
                "sessions.get_or_create", channel_id="C1", thread_ts=f"1.{number}", user_id="U1"
            )
        wait_until(
            lambda: len(installation.sessions()) == COMMANDS and installation.waiting() == 0,
            "all have ended",
            timeout=30,
        )
        assert installation.dead_letters() == []
        assert worker.is_alive


@pytest.mark.parametrize("address", ["file:///no/such/folder", "mongodb://127.0.0.1", "no-such-kind://h"])
def test_a_backend_that_cannot_be_had_is_refused_in_a_sentence(
    installation: Installation, address: str
) -> None:
    """A backend whose folder, driver or kind is missing is refused at the start, in a sentence."""
    argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--concurrency", "1"]
    env = {**installation.env, "PYTHONPATH": str(ROOT), "CELERY_RESULT_BACKEND": address}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "CELERY_RESULT_BACKEND is of no use here" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr

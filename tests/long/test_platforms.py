"""Roles in odd containers: odd locales, a nameless user, a read-only file system, Kubernetes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.redis_servers import SentinelSet
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, WorkerGroup
from worker.local.child import Child, succeeds
from worker.local.readiness import answers_http, sends_heartbeats
from worker.local.servers.port import free_port

_NAMELESS = ("unshare", "--user", "--map-user=12345", "--map-group=12345", "--")
# Everything but /dev and /proc, /tmp too.
_READ_ONLY = (
    *("unshare", "--mount", "--", "sh", "-c"),
    'mount --rbind / / && mount -o remount,bind,ro / && exec "$@"',
    "sh",
)
_PLAIN_ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
_PLATFORMS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "no-utf8": ((), {**_PLAIN_ASCII, "HOME": "/tmp"}),
    "ascii-streams": ((), {"PYTHONIOENCODING": "ascii", "HOME": "/tmp"}),
    "no-name-no-home": (_NAMELESS, {}),
    "read-only": (_READ_ONLY, {"HOME": "/root"}),
}


@pytest.fixture
def env(postgres: PostgresForTests, valkey: ValkeyForTests) -> Iterator[dict[str, str]]:
    """Yield a process's whole environment, with Kubernetes' variables for services of such names."""
    with postgres.database() as url:
        yield {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": url,
            "CELERY_BROKER_URL": valkey.broker(),
            "SLACK_SIGNING_SECRET": "secret",
            "SLACK_BOT_TOKEN": "xoxb-none",
            "PYTHONUNBUFFERED": "1",
            "FLOWER_BASIC_AUTH": "admin:of-these-tests",
            "METRICS_PORT": "tcp://10.0.0.1:9464",
            "METRICS_SERVICE_HOST": "10.0.0.1",
            "FLOWER_PORT": "tcp://10.0.0.2:5555",
            "FLOWER_PORT_5555_TCP_ADDR": "10.0.0.2",
        }


@pytest.mark.parametrize("platform", _PLATFORMS)
def test_every_role_runs(platform: str, env: dict[str, str], tmp_path: Path) -> None:
    prefix, more = _PLATFORMS[platform]
    if prefix and not succeeds([*prefix, "true"]):
        pytest.skip(f"this machine does not allow it: {' '.join(prefix[:2])}")
    env |= more
    web, flower, metrics = (free_port() for _ in range(3))
    roles = {
        "worker": ["-m", "celery", "-A", "worker", "worker", "-c", "1"],
        "beat": ["-m", "celery", "-A", "worker", "beat", "--pidfile="],
        "web": ["-m", "handlers.serve", "--port", str(web)],
        "flower": ["-m", "worker.cli", "flower", "--port", str(flower)],
        "metrics": ["-m", "worker.cli", "metrics", "--port", str(metrics)],
    }
    with ExitStack() as stack:
        logs, children = {}, {}
        for role, argv in roles.items():
            logs[role] = tmp_path / f"{role}.log"
            child = Child([*prefix, sys.executable, *argv], log_path=logs[role], env=env, cwd=tmp_path)
            stack.callback(lambda child=child: child.stop(SIGTERM, 20) or child.kill())  # type: ignore[misc]
            children[role] = child

        def is_up(role: str) -> bool:
            assert children[role].poll() is None, logs[role].read_text()[-2000:]
            match role:
                case "worker":
                    return " ready." in logs[role].read_text()
                case "beat":
                    return "is starting" in logs[role].read_text()
                case _:
                    port = {"web": web, "flower": flower, "metrics": metrics}[role]
                    path = "metrics" if role == "metrics" else ""
                    return answers_http(f"http://127.0.0.1:{port}/{path}")

        for role in roles:
            wait_until(lambda role=role: is_up(role), f"{role} runs", 60)  # type: ignore[misc]
        for command in (["sessions", "list"], ["dead", "list"], ["--help"], ["doctor"], ["doctor", "--json"]):
            done = subprocess.run(
                [*prefix, sys.executable, "-m", "worker.cli", *command],
                env=env,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=90,
                check=False,
            )
            assert "Traceback" not in done.stderr, done.stderr
            # The doctor has something to find.
            assert done.returncode == (1 if command[0] == "doctor" else 0)
        for role, log in logs.items():
            assert "Traceback" not in log.read_text(), role


def test_a_folder_with_a_name_of_all_kinds(tmp_path: Path) -> None:
    """`threadsync up` runs in a deep folder whose name has quotes, spaces, per cent and non-ASCII letters."""
    folder = tmp_path / 'it\'s "odd" 100%s \\ ü' / ("long" * 20) / ("way" * 20)
    env = {
        **os.environ,
        **_PLAIN_ASCII,
        "PYTHONPATH": str(ROOT),
        "METRICS_PORT": "tcp://10.0.0.1:9464",
        "FLOWER_PORT": "tcp://10.0.0.2:5555",
    }
    log = tmp_path / "up.log"
    argv = [sys.executable, "-m", "worker.cli", "up", "--data-dir", str(folder), "--port", str(free_port())]
    up = Child(argv, log_path=log, env=env, cwd=tmp_path)
    try:
        wait_until(
            lambda: b"Ctrl-C stops everything" in log.read_bytes() or up.poll() is not None, "it is up", 120
        )
        assert up.poll() is None, log.read_text(errors="replace")[-3000:]
        shell = shutil.which("sh") or "/bin/sh"
        sourced = subprocess.run(
            [shell, "-c", '. "$1" && echo "$CELERY_BROKER_URL"', "sh", str(folder / "env")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert sourced.stdout.startswith("redis://")
    finally:
        assert up.stop(SIGTERM, 60)


def test_up_sees_its_worker_behind_sentinels_and_a_prefix(
    postgres: PostgresForTests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`threadsync up` finds its worker's heartbeat behind sentinels and a key prefix."""
    with SentinelSet(tmp_path / "set", sentinels=1) as sentinels, postgres.database() as url:
        options = f'{{"master_name": "{sentinels.name}", "global_keyprefix": "ts:"}}'
        monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", options)
        env = {**os.environ, "DATABASE_URL": url, "CELERY_BROKER_URL": sentinels.url}
        with WorkerGroup(env, tmp_path / "up.log", concurrency=1):
            wait_until(lambda: sends_heartbeats("up", sentinels.url, 10), "its heartbeat is there", 20)

"""The ACL of docs/delivery.md, word for word, on the oldest server that is promised: Redis 7.0."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.documents import read
from tests.installation import Installation
from tests.waiting import wait_until
from tests.workers import ROOT
from worker.child import Child
from worker.embedded.port import free_port

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="needs Debian's package redis-server")
OPTIONS = json.dumps({"global_keyprefix": "ts:"})


@pytest.fixture
def old_redis(tmp_path: Path) -> Iterator[redis.Redis]:
    port = free_port()
    argv = [str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    child = Child(argv, log_path=tmp_path / "redis.log", env=dict(os.environ), cwd=tmp_path)
    client = redis.Redis(port=port)
    try:
        wait_until(lambda: answers(client), "Redis answers", 20)
        yield client
    finally:
        client.close()
        child.kill()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def documented_acl() -> list[str]:
    block = re.search(r"ACL SETUSER threadsync on .*?\n```", read("docs/delivery.md"), re.DOTALL)
    assert block
    return block[0].removesuffix("```").split()


def test_a_worker_needs_no_more_than_is_documented(
    installation: Installation, old_redis: redis.Redis
) -> None:
    """The server takes the ACL, a worker lives with it past events, and the doctor is content."""
    administrator: Any = old_redis
    administrator.execute_command(*documented_acl())
    port = old_redis.connection_pool.connection_kwargs["port"]
    env = {
        "CELERY_BROKER_URL": f"redis://threadsync:password@127.0.0.1:{port}/0",
        "CELERY_BROKER_TRANSPORT_OPTIONS": OPTIONS,
    }
    code = (
        "from tasks.client import SessionClient; c = SessionClient()\n"
        "for n in range(300): h = c.get_or_create('C1', f'1700000000.{n:06}', 'U1')\n"
        "print(h.get(timeout=30).outcome)"
    )
    with installation.worker("confined", **env) as worker:
        shell = {**installation.env, **env, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=shell, check=True, timeout=60, capture_output=True, text=True
        )
        assert done.stdout.strip() == "created"
        wait_until(lambda: len(installation.sessions()) == 300, "all are carried out", 30)
        doctor = [sys.executable, "-m", "worker.cli", "doctor", "--role", "sessions", "--json"]
        said = json.loads(
            subprocess.run(doctor, env=shell, timeout=60, capture_output=True, check=False).stdout
        )
        found = {finding["check"]: finding for finding in said}
        assert found["broker: permissions"]["level"] == "ok", found["broker: permissions"]
        assert worker.is_alive
    # What redis-py says of itself is refused, and does no harm.
    refused = {entry["object"] for entry in old_redis.acl_log()}
    assert refused <= {"client|setinfo", "client|maint_notifications", "info", "config|get", "config"}, (
        refused
    )

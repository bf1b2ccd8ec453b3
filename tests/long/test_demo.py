"""`threadsync demo` as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.command_runs import environment_without_servers


def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    """The demo ends with exit code 0, shows rows, kills, recoveries and checks, and leaves no process."""
    env = environment_without_servers()
    env |= {"COLUMNS": "200", "THREADSYNC_TEST_MARK": str(tmp_path)}
    command = [sys.executable, "-m", "worker.cli", "demo", "--data-dir", str(tmp_path / "demo")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^✓ ", done.stdout, re.MULTILINE)) == 7
    assert "✗" not in done.stdout
    assert done.stdout.count("kill -9 worker") == 2
    assert done.stdout.count("kill -9 syncs") == 1
    assert re.search(r"in all \d+ collecting, \d+ ready_to_sync, \d+ synced", done.stdout)
    for row in (
        "of them delivered again",
        "duplicates",
        "recovered from them",
        "tickets in Jira",
        "spoilt: ",
    ):
        assert re.search(rf"{row}\w*\W+[1-9]", done.stdout), row
    assert f"threadsync up --data-dir {tmp_path / 'demo'}" in done.stdout
    assert [process for process in psutil.process_iter() if _is_ours(process, str(tmp_path))] == []


def _is_ours(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("THREADSYNC_TEST_MARK") == mark
    except psutil.Error:
        return False

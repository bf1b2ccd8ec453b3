"""`threadsync demo` as a user runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.support.command_runs import environment_without_servers
from tests.support.waiting import wait_until


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


@contextmanager
def kept(folder: Path, **more: str) -> Iterator[str]:
    """Run a small demo until it is kept; yield its output. It ends with exit code 0 at Ctrl-C."""
    env = environment_without_servers() | {"COLUMNS": "200", "THREADSYNC_TEST_MARK": str(folder), **more}
    command = [sys.executable, "-m", "worker.cli", "demo", "--threads", "5", "--keep", "--data-dir"]
    log = folder / "log"
    with log.open("w") as output:
        demo = subprocess.Popen([*command, str(folder / "demo")], env=env, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: "Ctrl-C ends it" in log.read_text() or demo.poll() is not None, "it is kept", timeout=120
        )
        yield log.read_text()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, log.read_text()
    finally:
        for process in psutil.process_iter():
            if _is_ours(process, str(folder)):
                process.kill()
        demo.wait()


def test_the_demo_leaves_its_playground(tmp_path: Path) -> None:
    """With ``--keep`` the playground shows the demo's messages and tickets until Ctrl-C."""
    with kept(tmp_path) as output:
        found = re.search(r"^Playground (http://127\.0\.0\.1:\d+/playground/)$", output, re.MULTILINE)
        assert found, output
        state = httpx.get(f"{found[1]}state").json()
        assert [item for item in state["tickets"] if item["key"].startswith("DEMO-")]
        assert [item for item in state["messages"] if "bot_id" in item]
        # The demo has killed one, which is started again.
        wait_until(
            lambda: all(item["pid"] for item in httpx.get(f"{found[1]}state").json()["workers"]),
            "all workers run",
            timeout=30,
        )


def test_the_demo_has_no_playground_beside_real_settings(tmp_path: Path) -> None:
    """Somebody's Jira in the environment is not used by the demo, and keeps the playground away."""
    with kept(tmp_path, JIRA_API_TOKEN="canary-jira") as output:
        assert "There is no playground beside real services: unset JIRA_API_TOKEN." in output
        assert "Playground http" not in output


def _is_ours(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("THREADSYNC_TEST_MARK") == mark
    except psutil.Error:
        return False

"""Roles other than workers, when the broker or the database stands still: each goes on by itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.support.console_client import sign_in
from tests.support.exporter import exporter
from tests.support.flower import flower_of
from tests.support.frozen import FROZEN_SECONDS, family, standing_still
from tests.support.installation import Installation
from tests.support.scraping import scrape
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from tests.support.workers import ROOT
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

PASSWORD = "of-these-tests-and-42-ostriches"
LONGEST_SECONDS = 60
"""Limit of a command, longer than each of its time-outs."""

COMMANDS = {
    "broker": [["health", "worker"], ["health", "beat"], ["doctor"]],
    "database": [["sessions", "list"], ["dead", "list"], ["syncs", "list"], ["doctor"]],
}


class Roles:
    """Beat, the exporter, Flower, the console in the web process, and a worker."""

    def __init__(self, installation: Installation, stack: ExitStack) -> None:
        self.installation = installation
        self.worker = stack.enter_context(installation.worker())
        self.beat = installation.beat()
        stack.callback(self.beat.kill)
        self.exporter = stack.enter_context(exporter(installation))
        self.flower = stack.enter_context(flower_of(installation.env, installation.logs))
        env = {**installation.env, "THREADSYNC_CONSOLE_PASSWORD": PASSWORD}
        self.web = stack.enter_context(WebProcess(env, installation.logs / "web.log"))
        self.browser = stack.enter_context(httpx.Client(base_url=self.web.url, timeout=LONGEST_SECONDS))
        assert sign_in(self.browser, "ada", PASSWORD).status_code == 303

    def code_of(self, argv: list[str]) -> int:
        """Run a command; return its exit code. Raises ``TimeoutExpired`` if it hangs."""
        ended = subprocess.run(
            [sys.executable, "-m", "worker.cli", *argv],
            env={**self.installation.env, "PYTHONPATH": str(ROOT)},
            cwd=self.installation.logs,
            capture_output=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        assert b"Traceback" not in ended.stderr, ended.stderr.decode()
        return ended.returncode

    def beat_sends(self) -> bool:
        """Return True if beat has lately sent its canaries."""
        return scrape(self.exporter).get("threadsync_beat_silence_seconds", LONGEST_SECONDS) < 8

    def ups(self) -> list[float]:
        return [value for name, value in scrape(self.exporter).items() if name.startswith("threadsync_up")]

    def all_are_well(self) -> bool:
        return (
            bool(self.ups())
            and all(self.ups())
            and self.beat_sends()
            and bool(self.flower.get("/api/workers", params={"refresh": "1"}).json())
            and self.browser.get("/console/").status_code == 200
        )


@pytest.fixture
def roles(own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Roles]:
    with (
        closing(Installation(own_postgres.url, own_valkey.url, tmp_path)) as installation,
        ExitStack() as stack,
    ):
        roles = Roles(installation, stack)
        wait_until(roles.all_are_well, "all are well", timeout=60)
        yield roles


@pytest.mark.timeout(400)
@pytest.mark.parametrize("frozen", COMMANDS)
def test_each_role_goes_on_after_a_standstill(
    roles: Roles, own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, frozen: str
) -> None:
    """During a standstill commands end and pages respond; afterwards every role works without a restart."""
    server = own_valkey if frozen == "broker" else own_postgres
    began = time.monotonic()
    with ThreadPoolExecutor(1) as other, standing_still(*family(server.pid)):
        page = other.submit(roles.browser.get, "/console/")
        codes = {" ".join(argv): roles.code_of(argv) for argv in COMMANDS[frozen]}
        assert 0 not in codes.values(), codes
        assert 0.0 in roles.ups(), "the exporter says it, and answers"
        assert page.result(LONGEST_SECONDS).status_code in {200, 503}
        wait_until(lambda: time.monotonic() - began > FROZEN_SECONDS, "it stood still", timeout=60)
    wait_until(roles.all_are_well, "all are well again", timeout=60)
    assert roles.beat.poll() is None
    assert roles.worker.is_alive
    installation = roles.installation
    installation.send("sessions.get_or_create", channel_id="C1", thread_ts="1.1", user_id="U1")
    wait_until(lambda: len(installation.sessions()) == 1, "commands are carried out", timeout=30)
    assert installation.dead_letters() == []

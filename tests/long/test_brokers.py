"""One behaviour suite over each broker that README names: the same promises for all of them."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.broker_pairs import PAIRS, BrokerServer, Site, install_on
from tests.support.scale import scaled
from tests.support.servers import PostgresForTests, ValkeyForTests, ask
from tests.support.waiting import let_pass, wait_until
from tests.support.web import WebProcess
from tests.support.workers import ROOT
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed, ResultTimeout
from threadsync.handles import Handle
from threadsync.liveness.verdicts import beat_is_sending, verdict_on_queue, verdict_on_worker
from threadsync.queues import QUEUES
from threadsync.sessions import SessionResult
from threadsync.syncs import Draft
from worker.db.pool import new_pool
from worker.db.sessions.store import SessionStore

NOT_DURABLE = {"broker: append-only file", "database: durable"}
"""Findings on the tests' servers, which do not wait for the disk."""


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: pair.name)
def server(
    request: pytest.FixtureRequest, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerServer]:
    """Run each of the brokers in turn."""
    server: BrokerServer = request.param(tmp_path_factory.mktemp(request.param.name), valkey)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def site(
    server: BrokerServer, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Install a site with a worker and beat, for the tests that leave it as it is."""
    with install_on(server, postgres, tmp_path_factory.mktemp("shared")) as site, site.worker():
        beat = site.beat()
        try:
            yield site
        finally:
            beat.kill()


@pytest.fixture
def own(server: BrokerServer, postgres: PostgresForTests, tmp_path: Path) -> Iterator[Site]:
    """Install a site without a worker, for one test alone."""
    with install_on(server, postgres, tmp_path) as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[SessionClient]:
    with a_client(site) as client:
        yield client


def a_client(site: Site) -> SessionClient:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", site.env.get("CELERY_BROKER_TRANSPORT_OPTIONS", "{}"))
        return SessionClient(site.env["CELERY_BROKER_URL"], site.env.get("CELERY_RESULT_BACKEND"))


def sent(client: SessionClient, channel_id: str, number: int) -> Handle[SessionResult]:
    """Send a command again and again until the broker takes it, as Slack does with events."""
    taken: list[Handle[SessionResult]] = []

    def is_taken() -> bool:
        with contextlib.suppress(EnqueueFailed):
            taken.append(client.get_or_create(channel_id, ts(number), "U1"))
        return bool(taken)

    wait_until(is_taken, "the broker takes it", timeout=60)
    return taken[0]


def ts(number: int) -> str:
    return f"17000{number:05}.000100"


def test_a_command_is_carried_out_and_its_result_comes(client: SessionClient) -> None:
    created = client.get_or_create("C1", ts(1), "U1").get(timeout=20)
    ready = client.update_status("C1", ts(1), "ready_to_sync").get(timeout=20)
    assert (created.outcome, ready.outcome) == ("created", "applied")


def test_commands_that_come_together_all_end(client: SessionClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        handles = list(threads.map(lambda n: sent(client, "C2", n), range(100)))
    assert {handle.get(timeout=20).outcome for handle in handles} <= {"created", "unchanged"}


def test_a_command_whose_process_dies_is_run_again_at_once(site: Site, tmp_path: Path) -> None:
    for number in range(4):
        result = site.send("probe.kill_child", str(tmp_path / f"diary{number}"), 1)
        # Celery's look at its children comes every 5 s, which is too late for this limit.
        assert result.get(timeout=4) == "survived"


def test_poison_is_buried_after_five_deaths(server: BrokerServer, site: Site, tmp_path: Path) -> None:
    """A poison message is buried after five deaths beyond the deliveries that made it a suspect."""
    diary = tmp_path / "diary"
    result = site.send("probe.kill_child", str(diary))
    letter = site.dead_letter(lambda letter: letter.task_id == result.id, timeout=60)
    assert (letter.error_type, letter.attempts) == ("PoisonCommand", 5)
    assert diary.read_text().count("run") == server.unsuspected + 5


def test_junk_is_buried_with_its_bytes(site: Site) -> None:
    site.publish(b"\x00 no message of ours", task="no.such.task", id="junk")
    letter = site.dead_letter(lambda letter: letter.body == b"\x00 no message of ours")
    assert letter.error_type


def test_everything_says_that_it_lives(site: Site) -> None:
    wait_until(lambda: set(site.heartbeats().canaries) == set(QUEUES), "canaries came out", timeout=30)
    found = site.heartbeats()
    assert beat_is_sending(found)
    assert {verdict_on_worker(sign).state for sign in found.workers.values()} == {"ok"}
    assert {verdict_on_queue(found, queue).state for queue in QUEUES} == {"ok"}

    for what in ("worker", "beat"):
        said = run_cli(site, "health", what)
        assert said.returncode == 0, said.stdout + said.stderr


def test_the_doctor_is_content(site: Site) -> None:
    """The doctor finds no fault in an installation where everything runs."""
    wait_until(lambda: set(site.heartbeats().canaries) == set(QUEUES), "canaries came out", timeout=30)
    said = run_cli(site, "doctor", "--json", "--role", "sessions")
    found = {finding["check"]: finding for finding in json.loads(said.stdout)}
    wrong = {check: one for check, one in found.items() if one["level"] in ("warning", "error")}
    # Expected of an installation that has one user for everything, as most of these have.
    assert wrong.keys() <= NOT_DURABLE | {"broker: user"}, wrong
    for check in ("broker: reachable", "broker: room", "broker: permissions"):
        assert found[check]["level"] == "ok", found[check]
    assert {check for check in found if check.startswith("running: ") and check not in wrong}


def test_the_web_process_says_that_it_is_ready(site: Site, tmp_path: Path) -> None:
    """A web process without a database is ready when all queues of the broker are served."""
    told = {name: value for name, value in site.env.items() if name != "DATABASE_URL"}
    with WebProcess(told, tmp_path / "web.log") as web:
        answer = httpx.get(f"{web.url}/readyz", timeout=10)
    assert (answer.status_code, answer.json()["queues"]) == (200, dict.fromkeys(QUEUES, "ok"))


def test_a_queue_that_grows_is_seen(own: Site) -> None:
    with a_client(own) as client:
        for number in range(7):
            sent(client, "C1", number)
    wait_until(lambda: own.heartbeats().queues["sessions"].messages >= 7, "they are counted")


def test_a_sync_without_a_message_is_found_by_the_sweep(site: Site) -> None:
    with new_pool(site.database_url) as pool:
        SessionStore(pool).get_or_create_session("C3", ts(1), "U1")
        SessionStore(pool).request_sync("C3", ts(1), Draft(summary="A"), ts(2))
    wait_until(lambda: ask(site.database_url, "SELECT state FROM syncs") != "pending", "it was taken up", 40)


def test_what_is_due_later_outlives_its_worker(own: Site, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    with own.worker() as worker:
        due = datetime.now(UTC) + timedelta(seconds=8)
        result = own.send_for(due, "probe.take", str(diary), 0.0)
        marker = own.send("probe.take", str(tmp_path / "marker"), 0.0)
        # This message was behind the other one.
        assert marker.get(timeout=20) == "ended"
        worker.kill()
        assert not diary.exists()
        worker.start()
        assert result.get(timeout=40) == "ended"
        assert datetime.now(UTC) >= due


def test_a_stop_hands_back_what_had_not_begun(own: Site) -> None:
    number = scaled(500)
    with a_client(own) as client, own.worker() as worker:
        handles = [sent(client, "C1", n) for n in range(number)]
        worker.stop()
        worker.start()
        assert {handle.get(timeout=60).outcome for handle in handles} <= {"created", "unchanged"}
    assert len(own.sessions()) == number
    assert own.dead_letters() == []


class Sender:
    """Sender of commands by our client, as many as are allowed, which keeps the accepted ones."""

    def __init__(self, site: Site, number: int) -> None:
        self.taken: dict[str, Handle[SessionResult]] = {}
        self.refused = 0
        self._site, self._number = site, number
        self._allowed = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.allow(self._number)
        self._thread.join()

    def allow(self, number: int) -> None:
        """Allow so many more commands."""
        self._allowed.release(number)

    def has_sent(self, number: int) -> bool:
        return len(self.taken) >= number

    def _send(self) -> None:
        with a_client(self._site) as client, ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: self._send_one(client, ts(n)), range(self._number)))

    def _send_one(self, client: SessionClient, thread_ts: str) -> None:
        self._allowed.acquire()
        # Sent again until it is taken, as Slack does.
        while thread_ts not in self.taken:
            try:
                self.taken[thread_ts] = client.get_or_create("C1", thread_ts, "U1")
            except EnqueueFailed:
                self.refused += 1


def test_kills_and_a_freeze_lose_nothing(server: BrokerServer, own: Site) -> None:
    """Kills of workers and broker under load lose no acknowledged command, and bury none wrongly."""
    number, kills, ends = scaled(2000), scaled(5, 2), scaled(2, 1)
    with own.worker("one") as one, own.worker("two") as two:
        with Sender(own, number) as sender:
            share = number // (kills + ends + 2)
            faults: list[Callable[[], object]] = [
                *(one.kill, server.kill, two.kill, lambda: freeze(server, scaled(25, 8))),
                *(one.kill, server.kill, two.kill, one.kill)[: kills + ends - 3],
            ]
            for turn, fault in enumerate(faults, start=1):
                sender.allow(share)
                # In the middle of being sent, and of being worked at.
                wait_until(partial(sender.has_sent, turn * share - share // 2), "there is load", 60)
                fault()
                server.start()
                for worker in (one, two):
                    if not worker.is_alive:
                        worker.start()
        ended = time.monotonic()
        try:
            wait_until(lambda: rows(own) >= set(sender.taken), "each acknowledged command has its row", 60)
        except AssertionError as exc:
            missing = sorted(set(sender.taken) - rows(own))
            raise AssertionError(f"{len(missing)} have none: {missing[:5]}; {own.heartbeats()}") from exc
        settled = time.monotonic() - ended
        # Redelivered commands that were carried out, too: any of them could become a dead letter.
        wait_until(lambda: own.waiting() == 0, "each message has ended", 60)
        over = time.monotonic() - ended
        print(
            f"{server.name}: {number} sent, {sender.refused} refused, "
            f"settled after {settled:.1f} s, the last message ended after {over:.1f} s"
        )
        assert own.dead_letters() == []
        with a_client(own) as client:
            # A server that stood still a moment ago is looked at now and then: worker/durable/results.py.
            wait_until(lambda: result_comes(client), "results come", 60)
    if server.results_are_elsewhere:
        came = {handle.get(timeout=20).outcome for handle in sender.taken.values()}
        assert came <= {"created", "unchanged"}


def result_comes(client: SessionClient) -> bool:
    with contextlib.suppress(ResultTimeout):
        return sent(client, "C2", 1).get(timeout=5).outcome in {"created", "unchanged"}
    return False


def freeze(server: BrokerServer, seconds: float) -> None:
    server.signal(signal.SIGSTOP)
    let_pass(seconds)
    server.signal(signal.SIGCONT)


def rows(site: Site) -> set[str]:
    return {session.thread_ts for session in site.sessions()}


def run_cli(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "worker.cli", *arguments]
    return subprocess.run(
        argv, env={**site.env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

"""Servers that stand still for a while: everything goes on by itself, and nothing is lost."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.frozen import FROZEN_SECONDS, family, freeze, standing_still
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.scale import scaled
from tests.support.stopping import STOP_SECONDS, has_it
from tests.support.waiting import let_pass, wait_until
from threadsync import SessionClient
from threadsync.errors import ResultTimeout
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey

AGAIN_SECONDS = 8.0
"""Longer than a worker waits for its broker."""


def results_come(installation: Installation, backend: str) -> None:
    """Wait until results come, each of its own command; a server that was away is left alone at first."""
    with SessionClient(installation.broker_url, backend) as client:
        wait_until(partial(_all_results_come, client), "results come", timeout=60)


def _all_results_come(client: SessionClient) -> bool:
    handles = [client.get_or_create("C9", f"1800000000.{number:06}", "U1") for number in range(20)]
    for handle in handles:
        try:
            answer = handle.get(timeout=5)
        except ResultTimeout:
            return False
        assert answer.thread_ts == handle.command.arguments()["thread_ts"]
    return True


def test_a_frozen_broker_loses_nothing(database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """A broker that freezes under load loses no acknowledged command, and causes no dead letter."""
    load = Load(seed=21, threads=scaled(250))
    with (
        closing(Installation(database_url, own_valkey.url, tmp_path)) as installation,
        installation.worker("first", SESSION_WAIT_SECONDS="30") as first,
        installation.worker("second", SESSION_WAIT_SECONDS="30") as second,
        SessionClient(own_valkey.url) as client,
        ThreadPoolExecutor(1) as other,
    ):
        half = len(load.messages) // 2
        for place, message in enumerate(load.messages):
            if place == half:
                other.submit(freeze, *family(own_valkey.pid))
            wait_until(partial(has_it, client, message), "the broker has it", timeout=60)
        load.wait_until_done(installation, timeout=120)
        results_come(installation, own_valkey.url)
        assert first.is_alive, first.log[-3000:]
        assert second.is_alive, second.log[-3000:]
        first.stop(grace=STOP_SECONDS)
        second.stop(grace=STOP_SECONDS)


@pytest.mark.timeout(900)
def test_no_worker_hangs_when_the_broker_stands_still_again_and_again(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """Both workers go on after each standstill of the broker, and stop in time at the end."""
    load = Load(seed=25, threads=40)
    with (
        closing(Installation(database_url, own_valkey.url, tmp_path)) as installation,
        installation.worker("first", SESSION_WAIT_SECONDS="30") as first,
        installation.worker("second", SESSION_WAIT_SECONDS="30") as second,
        SessionClient(own_valkey.url) as client,
    ):
        for number in range(scaled(10)):
            for message in load.messages:
                wait_until(partial(has_it, client, message), "the broker has it", timeout=60)
            freeze(*family(own_valkey.pid), seconds=AGAIN_SECONDS)
            thread_ts = f"1800000000.{number:06}"
            command = (
                "sessions.get_or_create",
                {"channel_id": "C8", "thread_ts": thread_ts, "user_id": "U1"},
            )
            wait_until(partial(has_it, client, command), "the broker has it", timeout=60)
            wait_until(lambda: installation.waiting() == 0, "both have taken what there is", timeout=60)
            handle = client.get_or_create("C8", thread_ts, "U1")
            assert handle.get(timeout=30).outcome == "unchanged"
            assert (first.is_alive, second.is_alive) == (True, True)
        load.wait_until_done(installation, timeout=60)
        first.stop(grace=STOP_SECONDS)
        second.stop(grace=STOP_SECONDS)


def test_a_worker_stops_while_its_broker_is_frozen(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """A worker stops within its grace while its broker is frozen; the next one carries out its messages."""
    load = Load(seed=22, threads=scaled(500))
    with closing(Installation(database_url, own_valkey.url, tmp_path)) as installation:
        load.send(installation)
        with installation.worker("stops") as worker:
            wait_until(lambda: load.ended(installation) > 50, "it works", timeout=60)
            with standing_still(*family(own_valkey.pid)):
                worker.stop(grace=STOP_SECONDS)
        with installation.worker("next", SESSION_WAIT_SECONDS="30"):
            load.wait_until_done(installation, timeout=120)


def test_a_frozen_database_loses_nothing(
    own_postgres: EmbeddedPostgres, broker_url: str, tmp_path: Path
) -> None:
    """A frozen Postgres makes no command a dead letter; a worker can be stopped, and another one goes on."""
    load = Load(seed=23, threads=scaled(500))
    with closing(Installation(own_postgres.url, broker_url, tmp_path)) as installation:
        load.send(installation)
        with installation.worker("stops", SESSION_WAIT_SECONDS="30") as worker:
            wait_until(lambda: load.ended(installation) > 50, "it works", timeout=60)
            with standing_still(*family(own_postgres.pid)):
                installation.publish(b"junk that has to be kept meanwhile")
                let_pass(FROZEN_SECONDS)
                assert worker.is_alive, worker.log[-3000:]
                worker.stop(grace=STOP_SECONDS)
        with installation.worker("next", SESSION_WAIT_SECONDS="30") as worker:
            wait_until(lambda: load.is_done(installation), "all sessions end as they must", timeout=120)
            letter = installation.dead_letter(lambda letter: letter.body is not None)
            assert installation.dead_letters() == [letter]
            worker.stop(grace=STOP_SECONDS)


def test_a_frozen_server_of_results_decides_nothing(
    database_url: str, broker_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """A soft time limit during the storing of a result causes no dead letter, no kill, no mixed-up result."""
    load = Load(seed=24, threads=scaled(500))
    diary = tmp_path / "diary"
    with (
        closing(Installation(database_url, broker_url, tmp_path)) as installation,
        installation.worker(CELERY_RESULT_BACKEND=own_valkey.url, SESSION_WAIT_SECONDS="30") as worker,
    ):
        results_come(installation, own_valkey.url)
        for _ in range(4):
            # Each ends shortly before its soft time limit of 6 s, so that storing its result runs into that.
            installation.send("probe.take", str(diary), 5.0)
        wait_until(lambda: diary.exists() and diary.read_text().count("begin") >= 2, "they run", timeout=20)
        children = {child.pid for child in worker.children}
        pid = own_valkey.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        load.send(installation)
        load.wait_until_done(installation, timeout=120)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: diary.read_text().count("end") == 4, "all have ended", timeout=30)
        results_come(installation, own_valkey.url)
        assert installation.dead_letters() == []
        assert {child.pid for child in worker.children} == children
        assert diary.read_text().count("begin") == 4, "none ran twice"

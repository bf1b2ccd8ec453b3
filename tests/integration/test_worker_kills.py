"""Workers and servers that die under load, and sessions that end as the command table says all the same."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.load import Load, progress
from tests.support.scale import bounded, bounded_time_limits
from tests.support.waiting import let_pass, wait_until
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed
from worker.db.sessions.statements import COMMANDS
from worker.local.servers.postgres import EmbeddedPostgres
from worker.local.servers.valkey import EmbeddedValkey


def test_a_killed_worker_group_loses_no_command(installation: Installation) -> None:
    """More than a thousand commands all have their effect although the worker group is killed three times."""
    load = Load(seed=1)
    assert len(load.messages) > 1000
    load.send(installation)
    # The get_or_create that a command waits for may be held by a dead worker.
    worker = installation.worker(SESSION_WAIT_SECONDS="30")
    for left in (1000, 700, 400):
        worker.start()
        wait_until(progress(installation, left), f"{left} messages are left", timeout=60)
        worker.kill()
    with worker:
        load.wait_until_done(installation, timeout=120)


def test_a_killed_workers_command_is_back_within_15_seconds(
    installation: Installation, tmp_path: Path
) -> None:
    """A command of a killed worker group begins again on another worker within 15 s."""
    diary = tmp_path / "diary"
    with installation.worker("first") as first:
        installation.send("probe.take", str(diary), 5.0)
        wait_until(diary.exists, "the command has begun")
        with installation.worker("second"):
            first.kill()
            killed_at = time.monotonic()
            wait_until(lambda: diary.read_text().count("begin") == 2, "it has begun again", timeout=30)
            assert time.monotonic() - killed_at < 15
            wait_until(lambda: installation.waiting() == 0, "it has ended", timeout=20)


def test_a_stopping_worker_hands_back_what_it_had_not_begun(
    installation: Installation, tmp_path: Path
) -> None:
    """A stopping worker finishes its running commands once and hands back those that it had not begun."""
    diaries = [tmp_path / f"diary-{place}" for place in range(12)]
    worker = installation.worker().start()
    results = [installation.send("probe.take", str(diary), 1.0) for diary in diaries]
    wait_until(lambda: any(diary.exists() for diary in diaries), "some have begun")
    worker.stop(signal.SIGTERM)
    begun = [diary.read_text() for diary in diaries if diary.exists()]
    assert begun
    assert set(begun) == {"begin\nend\n"}
    assert installation.waiting() == len(diaries) - len(begun)
    with installation.worker("next"):
        assert {result.get(timeout=60) for result in results} == {"ended"}
    assert [diary.read_text().count("begin") for diary in diaries] == [1] * len(diaries)


@pytest.mark.bounded
def test_a_stop_under_load_is_quick(installation: Installation) -> None:
    """A worker under load stops within 15 s each time, and the commands are carried out in the end."""
    load = Load(seed=4, threads=bounded(500, 350))
    load.send(installation)
    for left in range(len(load.messages) - 400, 800, -600):
        worker = installation.worker(SESSION_WAIT_SECONDS="30").start()
        wait_until(progress(installation, left), f"{left} messages are left", timeout=60)
        worker.stop(signal.SIGTERM, grace=15)
    with installation.worker():
        load.wait_until_done(installation, timeout=60)


def test_a_hurried_stop_loses_nothing(installation: Installation, tmp_path: Path) -> None:
    """A worker stopped by SIGQUIT loses no command, and none runs more than twice."""
    diaries = [tmp_path / f"diary-{place}" for place in range(12)]
    worker = installation.worker().start()
    results = [installation.send("probe.take", str(diary), 1.0) for diary in diaries]
    wait_until(lambda: any(diary.exists() for diary in diaries), "some have begun")
    worker.stop(signal.SIGQUIT)
    with installation.worker("next"):
        assert {result.get(timeout=60) for result in results} == {"ended"}
    assert all(diary.read_text().count("begin") in {1, 2} for diary in diaries)


@pytest.mark.bounded
def test_a_command_out_of_time_is_run_again_and_then_parked(
    installation: Installation, tmp_path: Path
) -> None:
    """A command that exceeds its hard limit is run again and then becomes a dead letter."""
    diary = tmp_path / "diary"
    with installation.worker("worker", *bounded_time_limits(), MAX_DELIVERIES="1"):
        result = installation.send("probe.hang", str(diary))
        letter = installation.dead_letter(lambda letter: letter.task_id == result.id, timeout=60)
    assert letter.error_type == "PoisonCommand"
    assert diary.read_text().split().count("run") == 2 + 1
    assert "SoftTimeLimitExceeded" in diary.read_text()


def is_acknowledged(client: SessionClient, task: str, arguments: dict[str, str]) -> bool:
    command = next(command for command in COMMANDS if command.name == task)
    try:
        client.enqueue(command(**arguments))
    except EnqueueFailed:
        return False
    return True


def test_a_killed_broker_loses_no_acknowledged_command(
    database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """Every command that a killed and restarted Valkey had acknowledged is carried out."""
    load = Load(seed=2)
    kill_at = {len(load.messages) // 3, len(load.messages) * 2 // 3}
    with (
        closing(Installation(database_url, own_valkey.url, tmp_path)) as installation,
        installation.worker(SESSION_WAIT_SECONDS="30") as worker,
        SessionClient(own_valkey.url) as client,
        ThreadPoolExecutor(1) as administrator,
    ):
        for place, message in enumerate(load.messages):
            if place in kill_at:
                own_valkey.kill()
                administrator.submit(own_valkey.start)
            # Sent until acknowledged, as Slack delivers again.
            wait_until(partial(is_acknowledged, client, *message), "the broker has it", timeout=30)
        load.wait_until_done(installation, timeout=120)
        assert worker.is_alive, worker.log[-3000:]


@pytest.mark.bounded
def test_a_stopped_database_fails_no_command(
    own_postgres: EmbeddedPostgres, broker_url: str, tmp_path: Path
) -> None:
    """Commands wait while Postgres is away under load, and none becomes a dead letter."""
    load = Load(seed=3)
    with (
        closing(Installation(own_postgres.url, broker_url, tmp_path)) as installation,
        installation.worker(SESSION_WAIT_SECONDS="30") as worker,
    ):
        load.send(installation)
        wait_until(progress(installation, 1000), "1000 messages are left", timeout=60)
        own_postgres.stop()
        installation.publish(b"junk that has to be kept meanwhile")
        let_pass(bounded(20, 10))
        assert installation.waiting() > 0
        own_postgres.start()
        wait_until(lambda: load.is_done(installation), "all sessions end as the table says", timeout=120)
        (letter,) = installation.dead_letters()
        assert letter.body == b"junk that has to be kept meanwhile"
        assert worker.is_alive, worker.log[-3000:]
        assert worker.log.count("ready.") == 1

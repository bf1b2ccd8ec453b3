"""Installations on one broker database, which serves one of them only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis

from tests.support.identity import cli, identity
from tests.support.installation import Installation, install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.broker.installation import OthersBroker, claim, owner_of
from threadsync.broker.ownership import KEY
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection
from worker.doctor.app import app_of

THREAD: dict[str, Any] = {"channel_id": "C1", "thread_ts": "1700000000.000100"}


@pytest.fixture
def other(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path, installation: Installation
) -> Iterator[Installation]:
    """Create a second installation that is pointed at the broker of the first."""
    logs = tmp_path / "other"
    logs.mkdir()
    with install(postgres, valkey, logs) as other:
        # Both databases are copies of one template, with the same installation id.
        with single_connection(other.database_url) as connection:
            InstallationStore(connection).renew(actor="tests", reason="a copy")
        other.env["CELERY_BROKER_URL"] = installation.broker_url
        yield other


def test_the_second_of_two_installations_refuses_to_start(
    installation: Installation, other: Installation
) -> None:
    """A worker refuses to start on the broker of another installation, and names both and what to do.

    An operator may adopt the broker: that is recorded, and the first installation's workers end.
    """
    installation.send("sessions.get_or_create", **THREAD, user_id="U1")
    with installation.worker("first") as first:
        wait_until(lambda: len(installation.sessions()) == 1, "the first one's command is carried out")
        second = other.worker("second")
        second.launch()
        wait_until(lambda: not second.is_alive, "the second one ends", 30)
        assert f"another installation, {identity(installation)}; ours is {identity(other)}" in second.log
        assert "threadsync installation adopt" in second.log
        assert "Traceback" not in second.log
        assert other.sessions() == []
        code, said, _ = cli(other, "installation", "show", "--json")
        assert (code, json.loads(said)) == (
            1,
            {"installation": identity(other), "broker": identity(installation)},
        )
        code, _, refused = cli(other, "installation", "adopt", "--reason", "ours")
        assert code == 1
        assert "Stop them first" in refused
        with redis.Redis.from_url(installation.broker_url) as broker:
            # Simulates an adoption while the first workers were merely silent.
            broker.set(KEY, identity(other))
            wait_until(lambda: not first.is_alive, "the first one's worker ends", 30)
            broker.delete("threadsync.signs")
            broker.set(KEY, identity(installation))
        assert "another installation" in first.log
        assert cli(other, "installation", "adopt", "--reason", "the first is gone", "--actor", "ada")[0] == 0
    with other.worker("adopted"):
        other.celery = installation.celery
        installation.send("sessions.get_or_create", **THREAD, user_id="U1")
        wait_until(lambda: len(other.sessions()) == 1, "it is carried out in the second")
    _, said, _ = cli(other, "audit", "list", "--json")
    adopted, renewed = json.loads(said)
    assert (adopted["action"], adopted["actor"], adopted["reason"]) == ("adopt", "ada", "the first is gone")
    assert renewed["action"] == "renew"


def test_a_client_that_was_told_refuses_the_broker_of_another(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with another INSTALLATION_ID than the broker's sends nothing; without one it sends."""
    ours, theirs = UUID(int=1), UUID(int=2)
    with redis.Redis.from_url(installation.broker_url) as broker:
        broker.set(KEY, str(theirs))
        monkeypatch.setenv("INSTALLATION_ID", str(ours))
        client = SessionClient(installation.broker_url)
        with pytest.raises(EnqueueFailed, match=f"another installation, {theirs}"):
            client.get_or_create(**THREAD, user_id="U1")
        client.close()
        assert broker.llen("sessions") == 0
        for told in (str(theirs), ""):
            monkeypatch.setenv("INSTALLATION_ID", told)
            client = SessionClient(installation.broker_url)
            client.get_or_create(**THREAD, user_id="U1")
            client.close()
        assert broker.llen("sessions") == 2


def test_beat_that_was_told_ends_at_the_broker_of_another(
    installation: Installation, other: Installation
) -> None:
    """Beat with another INSTALLATION_ID than the broker's ends with a sentence and writes nothing."""
    with redis.Redis.from_url(installation.broker_url) as broker:
        broker.set(KEY, identity(installation))
        beat = other.beat(INSTALLATION_ID=identity(other))
        try:
            wait_until(lambda: beat.poll() is not None, "beat ends", 30)
        finally:
            beat.kill()
        assert beat.poll() != 0
        said = (other.logs / "beat.log").read_text()
        assert f"another installation, {identity(installation)}; ours is {identity(other)}" in said
        assert "Traceback" not in said
        assert broker.keys() == [KEY.encode()]


def test_of_two_that_come_first_at_once_one_gets_the_broker(installation: Installation) -> None:
    """One of eight installations that claim a new broker at once gets it, the others are refused."""
    app = app_of(load_settings(celery_broker_url=installation.broker_url))
    barrier, refused = threading.Barrier(8), []

    def come(number: int) -> None:
        with app.connection_for_write() as connection:
            barrier.wait()
            try:
                claim(connection, str(UUID(int=number)))
            except OthersBroker as exc:
                refused.append(exc)

    threads = [threading.Thread(target=come, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with app.connection_for_write() as connection:
        winner = owner_of(connection)
    assert len(refused) == 7
    assert all(f"another installation, {winner}" in str(exc) for exc in refused)


def test_an_emptied_broker_is_written_again(installation: Installation) -> None:
    """A worker writes its installation's id into an emptied broker again."""
    with installation.worker("first"), redis.Redis.from_url(installation.broker_url) as broker:
        assert broker.get(KEY) == identity(installation).encode()
        broker.flushdb()
        wait_until(lambda: broker.get(KEY) == identity(installation).encode(), "it is there again", 15)


def test_the_database_knows_one_installation(database_url: str) -> None:
    """A worker's login may not insert a second installation."""
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("INSERT INTO installation DEFAULT VALUES")

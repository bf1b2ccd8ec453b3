"""A database that was cloned with its installation's id: two real workers on one broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support.identity import cli, identity
from tests.support.installation import Installation, install
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from threadsync.broker.ownership import KEY


@pytest.fixture
def copy(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path, installation: Installation
) -> Iterator[Installation]:
    """Install a clone of the installation's database on the same broker."""
    logs = tmp_path / "copy"
    logs.mkdir()
    with install(postgres, valkey, logs) as copy:
        with psycopg.connect(copy.database_url) as connection:
            connection.execute("UPDATE installation SET id = %s", [identity(installation)])
        copy.env["CELERY_BROKER_URL"] = installation.broker_url
        yield copy


def says_two_databases(installation: Installation) -> bool:
    """Return True if health fails because workers of the broker write to two databases."""
    code, said, _ = cli(installation, "health", "worker", "--json")
    verdict = json.loads(said).get("databases", {})
    return code == 1 and verdict.get("state") == "mixed"


def test_a_copy_is_found_and_renewed(installation: Installation, copy: Installation) -> None:
    """Health and doctor report a copy; after its renewal its worker takes none of the original's commands."""
    beat = installation.beat()
    try:
        with installation.worker("original") as original:
            with copy.worker("copied") as copied:
                wait_until(lambda: says_two_databases(installation), "health says it", 120)
                _, said, _ = cli(installation, "doctor", "--json")
                assert "write to two databases" in said
                assert cli(copy, "installation", "renew", "--reason", "a clone", "--actor", "ada")[0] == 0
                copied.stop()
            code, _, refused = cli(copy, "installation", "adopt", "--reason", "ours")
            assert (code, "Stop them first" in refused) == (1, True)
            original.kill()
            before = copy.sessions()
            for number in range(5):
                thread = {"channel_id": "C1", "thread_ts": f"1700000000.00010{number}"}
                installation.send("sessions.get_or_create", **thread, user_id="U1")
            with redis.Redis.from_url(installation.broker_url) as broker:
                renewed = copy.worker("renewed")
                renewed.launch()
                wait_until(lambda: not renewed.is_alive, "the renewed one is refused", 60)
                assert broker.get(KEY) == identity(installation).encode()
                assert broker.llen("sessions") >= 5
            assert f"another installation, {identity(installation)}; ours is {identity(copy)}" in renewed.log
            assert copy.sessions() == before
            original.start()
            wait_until(lambda: len(installation.sessions()) == 5, "they are the original's", 60)
        _, said, _ = cli(copy, "audit", "list", "--json")
        [audited] = json.loads(said)
        assert (audited["action"], audited["actor"], audited["reason"]) == ("renew", "ada", "a clone")
        assert identity(copy) != identity(installation)
    finally:
        beat.kill()

"""The doctor on Valkey and Redis: memory, replicas, and each right that a user may lack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker_pairs import documented_acl
from tests.support.redis_servers import RedisServer, redis_program
from tests.support.waiting import wait_until
from threadsync.config import load_settings
from worker.doctor.broker import CHECKS, examine_broker
from worker.doctor.finding import Finding

COMMANDS = sorted(word[1:] for word in documented_acl().split() if word.startswith("+"))
NOT_ASKED_FOR = {
    "info": "without it the doctor says what it cannot see, and nothing else needs it",
    "wait": "asked only where BROKER_WAIT_REPLICAS needs it",
}
OUR_KEYS = (
    *("sessions*", "syncs*", "maintenance*", "lookups*", "unacked*", "threadsync.waiting:*", "_kombu.*"),
    *("threadsync.signs", "threadsync.beat", "threadsync.installation"),
    *("*.reply.celery.pidbox", "celery-task-meta-*"),
)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    program = redis_program() if request.param == "redis" else None
    settings = {"appendfsync": "always"}
    with RedisServer(tmp_path_factory.mktemp("server"), program, settings=settings) as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Any]:
    with server.client() as admin:
        yield admin


def examine(url: str, **settings: Any) -> dict[str, Finding]:
    return {found.check: found for found in examine_broker(load_settings(celery_broker_url=url, **settings))}


def not_well(found: dict[str, Finding]) -> dict[str, Finding]:
    return {check: one for check, one in found.items() if one.level in ("warning", "error")}


def test_a_healthy_one_is_clean(server: RedisServer, admin: Any) -> None:
    """A healthy broker has no finding for an administrator or for a user with the documented rights."""
    assert not_well(examine(server.url())) == {}
    admin.execute_command("ACL", "SETUSER", "documented", "reset", "on", ">pw", *documented_acl().split())
    options = {"global_keyprefix": "ts:"}
    found = examine(server.url(user="documented:pw"), celery_broker_transport_options=options)
    assert not_well(found) == {}
    assert found["broker: room"].level == "ok"
    assert set(found) == set(CHECKS)


@pytest.mark.parametrize("limit", ["1", "tight"])
def test_memory_that_runs_out_is_found(server: RedisServer, admin: Any, limit: str) -> None:
    used = int(admin.info("memory")["used_memory"])
    # Another connection needs far less than a tenth of this.
    admin.config_set("maxmemory", limit if limit == "1" else str(used * 10 // 9))
    try:
        found = examine(server.url())["broker: room"]
    finally:
        admin.config_set("maxmemory", "0")
    assert found.level == ("error" if limit == "1" else "warning"), found
    assert "memory" in found.message
    assert "give it memory" in found.fix


def test_another_refusal_is_found(server: RedisServer, admin: Any) -> None:
    admin.config_set("min-replicas-to-write", "1")
    try:
        found = examine(server.url())["broker: room"]
    finally:
        admin.config_set("min-replicas-to-write", "0")
    assert found.level == "error"
    assert "Not enough good replicas" in found.message


def test_each_command_that_a_user_lacks_is_named(server: RedisServer, admin: Any) -> None:
    """Each documented command that a user lacks is named in an error."""
    # SELECT is needed for any database but the first.
    url = server.url(1, user="lacking:pw")
    for command in COMMANDS:
        rights = ("reset", "on", ">pw", "~*", "&*", "+@all", f"-{command}")
        admin.execute_command("ACL", "SETUSER", "lacking", *rights)
        found = not_well(examine(url))
        errors = {one.check: one for one in found.values() if one.level == "error"}
        if command in NOT_ASKED_FOR:
            assert errors == {}, command
            continue
        told = " ".join(one.message for one in errors.values()).lower()
        assert errors, command
        assert command.partition("|")[0] in told, (command, told)
        assert "docs/operate/brokers.md" in " ".join(one.fix for one in errors.values()), command


def test_each_key_that_a_user_lacks_is_found(server: RedisServer, admin: Any) -> None:
    def examined(*keys: str) -> Finding:
        patterns = [f"~{key}" for key in keys]
        admin.execute_command("ACL", "SETUSER", "keyless", "reset", "on", ">pw", "&*", "+@all", *patterns)
        return examine(server.url(user="keyless:pw"))["broker: permissions"]

    assert examined(*OUR_KEYS).level == "ok", examined(*OUR_KEYS)
    for lacking in OUR_KEYS:
        found = examined(*(key for key in OUR_KEYS if key != lacking))
        assert found.level == "error", lacking


def test_results_that_are_elsewhere_need_no_rights_here(server: RedisServer, admin: Any) -> None:
    keys = [f"~{key}" for key in OUR_KEYS if not key.startswith("celery-task-meta")]
    taken = ["-multi", "-exec", "-mget", "-setex", "-unsubscribe"]
    admin.execute_command("ACL", "SETUSER", "apart", "reset", "on", ">pw", "&*", *keys, "+@all", *taken)
    found = examine(server.url(user="apart:pw"), celery_result_backend=server.url(1))
    assert found["broker: permissions"].level == "ok", found["broker: permissions"]


def test_replicas_that_are_waited_for(server: RedisServer, admin: Any, tmp_path: Path) -> None:
    """Missing replicas, a user who may not run WAIT, and a broker that is a replica itself are errors."""
    check = "broker: replicas"
    assert examine(server.url())[check].level == "skipped"
    none = examine(server.url(), broker_wait_replicas=1)[check]
    assert (none.level, "0 of 1" in none.message) == ("error", True)
    admin.execute_command("ACL", "SETUSER", "hasty", "reset", "on", ">pw", "~*", "&*", "+@all", "-wait")
    refused = examine(server.url(user="hasty:pw"), broker_wait_replicas=1)[check]
    assert (refused.level, "+wait" in refused.fix) == ("error", True)
    # Two new servers: a Valkey cannot be the replica of a Redis, nor a Redis of a Valkey.
    with (
        RedisServer(tmp_path / "master") as master,
        RedisServer(tmp_path / "replica") as replica,
        replica.client() as other,
    ):
        other.replicaof("127.0.0.1", str(master.port))

        def waiting_for(wanted: int, url: str) -> Finding:
            return examine(url, broker_wait_replicas=wanted)[check]

        wait_until(lambda: waiting_for(1, master.url()).level == "info", "it is counted", 20)
        assert waiting_for(2, master.url()).level == "error"
        assert waiting_for(1, replica.url()).level == "error"

"""A broker user for each kind of process, allowed its own commands and refused those of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

import httpx
import pytest
import redis

from tests.support import forked
from tests.support.flower import flower_of
from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer, redis_program
from tests.support.servers import PostgresForTests, as_member
from tests.support.waiting import wait_until
from threadsync import AsyncSessionClient, SessionClient
from threadsync.config import load_settings
from threadsync.queues import QUEUES
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import new_pool
from worker.db.roles import CONSOLE
from worker.doctor.app import app_of
from worker.doctor.broker import examine_broker
from worker.doctor.finding import Finding
from worker.local.readiness import sends_heartbeats
from worker.operate.installation_metrics import heartbeats_and_memory
from worker.operate.rights.broker_samples import Command, allowed, forbidden
from worker.operate.rights.broker_users import NAMES, BrokerUser, Kind, acl_line, acl_words, login_of


class Users:
    """A Valkey with every process's user, and an administrator for the test."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def url(self, user: BrokerUser) -> str:
        return self.server.url(user=f"{login_of(user)}:{user}-password")


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    lines = [acl_line(user, f"{user}-password").removeprefix("user ") for user in NAMES]
    with RedisServer(tmp_path_factory.mktemp("users"), users=lines) as server:
        yield Users(server)


def test_each_process_does_its_work_as_its_own_user(
    users: Users, postgres: PostgresForTests, tmp_path: Path
) -> None:
    """All processes work at once under their own users, and the server refuses nothing."""
    with (
        users.server.client() as admin,
        postgres.database() as database_url,
        closing(Installation(database_url, users.url("worker"), tmp_path)) as site,
        ExitStack() as stack,
    ):
        administrator: Any = admin
        stack.enter_context(site.worker("worker", "--queues", ",".join(QUEUES)))
        beat = site.beat(CELERY_BROKER_URL=users.url("beat"))
        stack.callback(beat.kill)
        flower = stack.enter_context(
            flower_of({**site.env, "CELERY_BROKER_URL": users.url("flower")}, tmp_path)
        )
        web = stack.enter_context(SessionClient(users.url("web")))
        assert web.get_or_create("C1", "1700000000.000100", "U1").get(timeout=20).outcome == "created"
        asyncio.run(tell_of_a_socket(users.url("web")))
        wait_until(lambda: len(web_canaries(web)) == len(QUEUES), "canaries come out", 20)
        wait_until(lambda: sees(flower, "sessions.get_or_create"), "Flower sees the command", 20)
        app = app_of(load_settings(celery_broker_url=users.url("metrics")))
        signs, memory = heartbeats_and_memory(app)
        app.close()
        assert signs is not None
        assert memory is not None
        assert not signs.refusal
        assert signs.workers
        asking: tuple[BrokerUser, ...] = ("worker", "beat")
        for user in asking:
            run({**site.env, "CELERY_BROKER_URL": users.url(user)}, "worker.cli", "health", user)
        letter = bury(database_url)
        console = as_member(database_url, CONSOLE)
        settings = {"CELERY_BROKER_URL": users.url("web"), "DATABASE_URL": console}
        run({**site.env, **settings}, "tests.support.replay", str(letter))
        wait_until(lambda: site.sessions()[-1].channel_id == "C9", "it is carried out", 20)
        assert "pong" in run(site.env, "celery", "-A", "worker", "inspect", "ping")
        # `threadsync up` checks like this for a running and for a missing worker.
        assert sends_heartbeats("worker", users.url("worker"), 10)
        assert not sends_heartbeats("another", users.url("worker"), 10)
        refused = {(entry["username"], entry["reason"], entry["object"]) for entry in administrator.acl_log()}
    assert refused == set()


def test_a_worker_without_the_right_to_script_results_stores_them(
    users: Users, postgres: PostgresForTests, tmp_path: Path
) -> None:
    """A worker stores results without the right to do so by a script, also if it had the right before."""
    words = list(acl_words("worker"))
    script = next(word for word in words if word.startswith("(+eval ~") and "celery-task-meta" in word)
    with (
        users.server.client() as admin,
        postgres.database() as database_url,
        closing(Installation(database_url, users.url("worker"), tmp_path)) as site,
        SessionClient(users.url("web")) as web,
    ):
        administrator: Any = admin
        with site.worker("worker"):
            assert web.get_or_create("C1", "1700000000.000100", "U1").get(timeout=20).outcome == "created"
            assert web.get_or_create("C1", "1700000000.000200", "U1").get(timeout=20).outcome == "created"
            without = [word for word in words if word != script]
            administrator.execute_command(
                "ACL", "SETUSER", login_of("worker"), "clearselectors", "resetkeys", *without
            )
            try:
                for number in range(300, 310):
                    handle = web.get_or_create("C1", f"1700000000.{number:06}", "U1")
                    assert handle.get(timeout=20).outcome == "created"
            finally:
                administrator.execute_command(
                    "ACL", "SETUSER", login_of("worker"), "clearselectors", "resetkeys", *words
                )
        # The others of this module look for refusals.
        administrator.execute_command("ACL", "LOG", "RESET")


ATTACKS: Mapping[BrokerUser, tuple[tuple[str, ...], ...]] = {
    "web": (
        ("LRANGE", "sessions", "0", "-1"),
        ("LINDEX", "syncs", "-1"),
        ("RPOP", "sessions"),
        ("DEL", "sessions"),
        ("HGETALL", "unacked"),
        ("SET", "celery-task-meta-1", "{}"),
        ("SCAN", "0"),
        ("PUBLISH", "/0.celery.pidbox", "{}"),
        ("PUBLISH", "/0.celeryev/worker.heartbeat", "{}"),
        ("PSUBSCRIBE", "/0.celeryev/*"),
        ("SET", "threadsync.installation", "x"),
        ("HSET", "threadsync.beat", "x", "1"),
        ("EVAL", "return redis.call('LRANGE', KEYS[1], 0, -1)", "1", "sessions"),
        ("EVAL", "return redis.call('RPOP', 'sessions')", "0"),
        ("SADD", "_kombu.binding.celery.pidbox", "x"),
    ),
    "beat": (
        ("LRANGE", "sessions", "0", "-1"),
        ("RPOP", "syncs"),
        ("GET", "celery-task-meta-1"),
        ("PUBLISH", "/0.celery.pidbox", "{}"),
        ("PSUBSCRIBE", "/0.celeryev/*"),
        ("INFO",),
    ),
    "flower": (
        ("LPUSH", "sessions", "{}"),
        ("RPUSH", "syncs", "{}"),
        ("LRANGE", "sessions", "0", "-1"),
        ("RPOP", "maintenance"),
        ("HGETALL", "unacked"),
        ("GET", "celery-task-meta-1"),
        ("SADD", "_kombu.binding.sessions", "x"),
        ("HSET", "threadsync.signs", "x", "1"),
        ("EVAL", "return redis.call('LPUSH', KEYS[1], 'x')", "1", "unacked"),
        ("INFO",),
    ),
    "metrics": (
        ("LPUSH", "sessions", "{}"),
        ("LRANGE", "sessions", "0", "-1"),
        ("HGETALL", "unacked"),
        ("GET", "celery-task-meta-1"),
        ("HSET", "threadsync.signs", "x", "1"),
        ("PUBLISH", "/0.celery.pidbox", "{}"),
        ("PSUBSCRIBE", "/0.celeryev/*"),
    ),
    "worker": (
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "requirepass"),
        ("ACL", "LIST"),
        ("GET", "of another program"),
        ("DEL", "of another program"),
        ("PSUBSCRIBE", "*"),
        ("SET", "threadsync.signs", "x"),
    ),
}
"""The commands that an attacker with a process's login would try first; each is refused."""

OF_ALL: Final = (
    ("SELECT", "1"),
    ("MOVE", "sessions", "1"),
    ("COPY", "sessions", "mine", "DB", "1"),
    ("SWAPDB", "0", "1"),
    ("EVAL", "return redis.call('SELECT', '1')", "0"),
    ("EVAL", "redis.setresp(3); return redis.call('CONFIG', 'GET', '*')", "0"),
    ("EVAL_RO", "return redis.call('LRANGE', 'sessions', 0, -1)", "0"),
    ("FCALL", "mine", "0"),
    ("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('mine', function() return 1 end)"),
    ("SCRIPT", "FLUSH"),
    ("KEYS", "*"),
    ("RANDOMKEY",),
    ("OBJECT", "ENCODING", "sessions"),
    ("DUMP", "sessions"),
    ("RESTORE", "sessions", "0", "x"),
    ("SORT", "sessions", "BY", "nosort", "GET", "celery-task-meta-*"),
    ("MIGRATE", "127.0.0.1", "1", "sessions", "0", "1"),
    ("RENAME", "sessions", "celeryev.mine"),
    ("LRANGE", "sessions:of-another-program", "0", "-1"),
    ("DEL", "sessions-of-another-program"),
    ("HGETALL", "unacked_of_another_program"),
    ("GET", "other:celery-task-meta-1"),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "appendonly", "no"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "threadsync-web", "allcommands"),
    ("ACL", "GENPASS"),
    ("MONITOR",),
    ("DEBUG", "SLEEP", "0"),
    ("DEBUG", "OBJECT", "sessions"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1"),
    ("CLIENT", "TRACKING", "ON", "BCAST"),
    ("PSUBSCRIBE", "*"),
    ("SUBSCRIBE", "__keyspace@0__:sessions"),
    ("PUBSUB", "CHANNELS"),
    ("PSYNC", "?", "-1"),
    ("REPLICAOF", "NO", "ONE"),
    ("MODULE", "LOAD", "/tmp/x.so"),
    ("LATENCY", "RESET"),
    ("SLOWLOG", "GET"),
    ("MEMORY", "USAGE", "sessions"),
    ("SAVE",),
    ("FLUSHALL",),
    ("SHUTDOWN", "NOSAVE"),
)
"""The commands that no process needs: other databases, scripts, all keys, the server, others' traffic."""


@pytest.mark.parametrize("user", NAMES)
def test_a_user_may_not_do_what_is_not_its_work(users: Users, user: BrokerUser) -> None:
    with redis.Redis.from_url(users.url(user)) as client:
        for command in (*ATTACKS[user], *OF_ALL):
            with pytest.raises(redis.ResponseError, match=r"(?i)no permissions|not allowed"):
                client.execute_command(*command)


def test_a_script_of_anothers_gives_no_other_rights(users: Users) -> None:
    """A script that a worker loaded gives another user no rights of the worker."""
    script = "return redis.call('LRANGE', KEYS[1], 0, -1)"
    with redis.Redis.from_url(users.url("worker")) as worker:
        worker.delete("sessions")
        digest = worker.script_load(script)
        assert worker.evalsha(digest, 1, "sessions") == []
    for user in ("web", "beat", "metrics", "flower"):
        with redis.Redis.from_url(users.url(user)) as client, pytest.raises(redis.ResponseError):
            client.evalsha(digest, 1, "sessions")


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("prefix", ["", "ts:"])
def test_the_server_reads_the_table_as_we_do(kind: Kind, prefix: str, tmp_path: Path) -> None:
    """The server allows each user the commands of its own list and refuses it those of every other list."""
    program = redis_program() if kind == "redis" else None
    lines = [acl_line(user, "pw", prefix, 3, kind=kind).removeprefix("user ") for user in NAMES]
    with RedisServer(tmp_path / "server", program, users=lines) as server, server.client() as admin:
        asking: Any = admin

        def may(user: BrokerUser, command: Command) -> bool:
            return bool(asking.execute_command("ACL", "DRYRUN", login_of(user), *command) == "OK")

        for user in NAMES:
            asked, refused = allowed(user, prefix, 3), forbidden(user, prefix, 3)
            assert [command for command in asked if not may(user, command)] == []
            assert [command for command in refused if may(user, command)] == []
            assert len(refused) > len(NAMES)


@pytest.mark.parametrize("user", NAMES)
def test_the_doctor_finds_nothing_wrong_with_the_user_of_its_role(users: Users, user: BrokerUser) -> None:
    found = examined(users.url(user), user)
    assert [one for one in found.values() if one.level in ("warning", "error")] == []
    assert found["broker: user"].level == found["broker: permissions"].level == "ok"


def test_the_doctor_finds_a_user_who_may_too_much_or_too_little(users: Users) -> None:
    found = examined(users.server.url(), "web")
    assert found["broker: user"].level == "warning"
    assert "threadsync-web" in found["broker: user"].fix
    found = examined(users.url("worker"), "web")
    assert found["broker: user"].level == "warning"
    found = examined(users.url("metrics"), "web")
    assert found["broker: permissions"].level == "error"
    assert "lpush" in found["broker: permissions"].message


def examined(url: str, user: BrokerUser) -> dict[str, Finding]:
    return {found.check: found for found in examine_broker(load_settings(celery_broker_url=url), user)}


def test_no_user_may_anything_without_its_password(users: Users) -> None:
    url = users.server.url(user=f"{login_of('web')}:another")
    with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def bury(database_url: str) -> UUID:
    with new_pool(database_url) as pool:
        return DeadLetterStore(pool).bury(
            Letter(
                task_id="letter",
                task_name="sessions.get_or_create",
                queue="sessions",
                error=ValueError("it died"),
                attempts=1,
                arguments='{"args": [], "kwargs": {"channel_id": "C9", "thread_ts": "1.1", "user_id": "U1"}}',
            )
        )


def run(env: dict[str, str], *words: str) -> str:
    done = forked.run(*words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def web_canaries(web: SessionClient) -> Any:
    signs = web.heartbeats()
    assert signs is not None
    assert signs.refusal is None
    return signs.canaries


def sees(flower: httpx.Client, task: str) -> bool:
    return task in flower.get("/api/tasks").text


async def tell_of_a_socket(url: str) -> None:
    async with AsyncSessionClient(url) as client:
        await client.tell_socket("host:1", 3.0)
        await client.tell_socket("host:1", None)

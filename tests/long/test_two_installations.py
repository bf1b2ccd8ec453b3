"""Two installations at one broker: each process of the second is refused, and the first loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
import redis

from sandbox.slack.requests import app_mention, signed_request
from tests.support.identity import identity
from tests.support.installation import Installation
from tests.support.rabbitmq import RabbitMQ, needs_rabbitmq
from tests.support.redis_servers import RedisServer
from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.slack_app import SECRET
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from tests.support.workers import ROOT
from threadsync.broker.installation import take_over
from threadsync.broker.ownership import KEY
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.installation.store import InstallationStore
from worker.db.pool import new_pool, single_connection
from worker.durable.connection import DurableConnection

COMMANDS: Final = 12
THREAD: Final = {"channel_id": "C9", "thread_ts": "1700000009.000100"}
WAY_OUT: Final = "threadsync installation adopt"


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    needs_rabbitmq()
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Scopes:
    """Maker of scopes on one server: an address each, with the transport options that it needs."""

    def __init__(self, kind: str, rabbitmq: RabbitMQ | None, valkey: ValkeyForTests) -> None:
        self._kind, self._rabbitmq, self._valkey = kind, rabbitmq, valkey
        self._shared = valkey.broker() if kind == "prefix" else ""

    def new(self) -> tuple[str, dict[str, Any]]:
        if self._rabbitmq:
            return self._rabbitmq.url(), {}
        if self._kind == "prefix":
            return self._shared, {"global_keyprefix": f"{uuid4().hex[:6]}:"}
        return self._valkey.broker(), {}


@pytest.fixture(params=["database", "prefix", "vhost"])
def scopes(request: pytest.FixtureRequest, valkey: ValkeyForTests) -> Scopes:
    rabbitmq = request.getfixturevalue("rabbitmq") if request.param == "vhost" else None
    return Scopes(request.param, rabbitmq, valkey)


Scope = tuple[str, dict[str, Any]]


@contextmanager
def installed(
    postgres: PostgresForTests, valkey: ValkeyForTests, logs: Path, scope: Scope
) -> Iterator[Installation]:
    """Install an installation with its id in the settings, as processes without Postgres need it."""
    url, options = scope
    logs.mkdir()
    with postgres.database() as database_url:
        with single_connection(database_url) as connection:
            InstallationStore(connection).renew(actor="tests", reason="a copy of the template")
        results_url = valkey.broker()
        made = Installation(database_url, url, logs, results_url=results_url)
        made.env["CELERY_RESULT_BACKEND"] = results_url
        made.env["INSTALLATION_ID"] = identity(made)
        if options:
            prefix = options["global_keyprefix"]
            made.env["CELERY_BROKER_TRANSPORT_OPTIONS"] = f'{{"global_keyprefix": "{prefix}"}}'
            made.celery.conf.broker_transport_options = options
        try:
            yield made
        finally:
            made.close()


def send(installation: Installation, number: int) -> None:
    thread = {"channel_id": "C1", "thread_ts": f"1700000000.{number:06d}"}
    installation.send("sessions.get_or_create", **thread, user_id="U1")


def waiting_for_the_table(installation: Installation) -> int:
    """Return the number of the installation's statements that wait for a lock on the table."""
    with psycopg.connect(installation.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'thread_sessions'::regclass"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert row
    return int(row[0])


def bury(installation: Installation) -> str:
    """Write a dead letter whose command can be sent again; return its id."""
    with new_pool(installation.database_url) as pool:
        letter_id = DeadLetterStore(pool).bury(
            Letter(
                task_id=str(uuid4()),
                task_name="sessions.get_or_create",
                queue="sessions",
                arguments=json.dumps({"args": [], "kwargs": {**THREAD, "user_id": "U9"}}),
                error=RuntimeError("of this test"),
                attempts=1,
            )
        )
    return str(letter_id)


def ended(argv: list[str], env: dict[str, str], cwd: Path) -> tuple[int, str]:
    """Run a process that ends by itself; return its exit code and output."""
    env = {**env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_process_of_the_second_is_refused(
    scopes: Scopes, postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """Every process of the second installation is refused; the first one's waiting commands stay its own."""
    scope = scopes.new()
    with (
        installed(postgres, valkey, tmp_path / "first", scope) as first,
        installed(postgres, valkey, tmp_path / "second", scope) as second,
    ):
        worker = first.worker("first")
        with worker, psycopg.connect(first.database_url) as lock:
            lock.execute("LOCK TABLE thread_sessions IN SHARE MODE")
            for number in range(COMMANDS):
                send(first, number)
            wait_until(lambda: waiting_for_the_table(first) > 0, "commands are being carried out", 30)
            worker.kill()
        letter = bury(second)
        both = f"another installation, {identity(first)}; ours is {identity(second)}"
        untold = {name: value for name, value in second.env.items() if name != "INSTALLATION_ID"}
        celery = ["celery", "-A", "worker"]
        refused = {
            "sessions": ([*celery, "worker", "-Q", "sessions", "-c", "2"], untold),
            "syncs": ([*celery, "worker", "-Q", "syncs,maintenance,lookups", "-c", "2"], untold),
            "told": ([*celery, "worker", "-c", "2"], second.env),
            "beat": ([*celery, "beat", "--pidfile="], second.env),
            "dead retry": (["worker.cli", "dead", "retry", letter, "--reason", "again"], untold),
            "up": (["worker.cli", "up", "--data-dir", str(tmp_path / "up"), "--without-flower"], untold),
            "dead retry, told": (["worker.cli", "dead", "retry", letter, "--reason", "again"], second.env),
        }
        for name, (argv, env) in refused.items():
            code, said = ended(argv, env, second.logs)
            assert code != 0, (name, said)
            assert both in said, (name, said)
            assert WAY_OUT in said, (name, said)
            assert "Traceback" not in said, (name, said)
        asks_without_an_answer(second, both)

        assert second.sessions() == []
        [waits] = second.dead_letters()
        assert str(waits.id) == letter
        with worker:
            wait_until(lambda: len(first.sessions()) == COMMANDS, "the first one carries its own out", 120)
        assert second.sessions() == []
        assert {session.channel_id for session in first.sessions()} == {"C1"}


def asks_without_an_answer(second: Installation, both: str) -> None:
    """Check that the web process lives on without taking a request, as Slack's requests go nowhere else."""
    with WebProcess(second.env, second.logs / "web.log") as web:
        request = signed_request(SECRET, app_mention("C9", "U9", "hi", ts="1700000009.000300"))
        assert web.deliver(request).status_code >= 500
        assert both in web.log


def test_another_scope_is_another_broker(
    scopes: Scopes, postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """Two installations in two scopes of one server each carry out their own commands."""
    with (
        installed(postgres, valkey, tmp_path / "first", scopes.new()) as first,
        installed(postgres, valkey, tmp_path / "second", scopes.new()) as second,
        first.worker("first"),
        second.worker("second"),
    ):
        for number in range(COMMANDS):
            send(first, number)
            send(second, 100 + number)
        for each, start in ((first, 0), (second, 100)):
            wait_until(lambda each=each: len(each.sessions()) >= COMMANDS, "its own are carried out", 60)  # type: ignore[misc]
            expected = {f"1700000000.{start + number:06d}" for number in range(COMMANDS)}
            assert {session.thread_ts for session in each.sessions()} == expected


def test_a_broker_that_became_anothers_is_left_alone(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path: Path
) -> None:
    """A worker ends, and takes nothing, when its broker becomes another installation's."""
    with (
        RedisServer(tmp_path / "broker") as server,
        installed(postgres, valkey, tmp_path / "first", (server.url(), {})) as first,
        first.worker("first") as worker,
    ):
        send(first, 1)
        wait_until(lambda: len(first.sessions()) == 1, "its own is carried out")
        other = str(UUID(int=2))
        with redis.Redis.from_url(server.url()) as broker:
            send_of_another = as_sent(first, broker)
            with broker.pipeline(transaction=True) as at_once:
                # Its connections end in the same moment, so that none is left that had looked before.
                at_once.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                at_once.flushdb()
                at_once.set(KEY, other)
                at_once.lpush("sessions", *send_of_another)
                at_once.execute()
            wait_until(lambda: not worker.is_alive, "the worker ends", 60)
            assert broker.llen("sessions") == COMMANDS
            assert broker.get(KEY) == other.encode()
        assert f"another installation, {other}; ours is {identity(first)}" in worker.log
        assert len(first.sessions()) == 1


def as_sent(installation: Installation, broker: redis.Redis) -> list[bytes]:
    """Send commands to another queue, and return them as they are stored."""
    for number in range(COMMANDS):
        thread = {"channel_id": "C2", "thread_ts": f"1700000000.{number:06d}"}
        command = installation.celery.send_task(
            "sessions.get_or_create", kwargs={**thread, "user_id": "U1"}, queue="aside"
        )
        command.backend = None  # type: ignore[assignment]
    waiting: Any = broker.lrange("aside", 0, -1)
    return list(waiting)


def test_a_vhost_that_was_given_away(
    postgres: PostgresForTests, valkey: ValkeyForTests, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """A worker ends when its vhost becomes another installation's, as the next one does; commands wait."""
    url = rabbitmq.url()
    with (
        installed(postgres, valkey, tmp_path / "first", (url, {})) as first,
        first.worker("first") as worker,
    ):
        other = str(UUID(int=2))
        with DurableConnection(url) as connection:
            take_over(connection, other)
        wait_until(lambda: not worker.is_alive, "the worker ends", 60)
        assert f"another installation, {other}; ours is {identity(first)}" in worker.log
        send(first, 1)
        again = first.worker("again")
        again.launch()
        try:
            wait_until(lambda: not again.is_alive, "it is refused at its start", 60)
        finally:
            again.kill()
        assert first.sessions() == []

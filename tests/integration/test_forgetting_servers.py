"""Forgetting in the servers' logs and in stored results, and the rights that it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from celery import Celery

from tests.support.servers import PostgresForTests, ValkeyForTests
from tests.support.waiting import wait_until
from worker.db.pool import new_pool
from worker.durable.results import WorkersCelery
from worker.operate.forgetting.letters import Sought
from worker.operate.forgetting.servers import forget_logs, forget_results

CANARY: Final = "ocelot"
PERSON: Final = "U0OCELOT"


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    with WorkersCelery("forgetting", broker=broker_url, backend=broker_url, set_as_current=False) as app:
        app.conf.update(result_backend=broker_url)
        yield app
        backend: Any = app.backend
        backend.client.close()


def written(valkey: ValkeyForTests) -> bytes:
    """Return the whole append-only file of the server."""
    [folder] = Path(valkey.server.log_path).parent.rglob("appendonlydir")
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_no_word_gets_into_postgres_log(postgres: PostgresForTests, database_url: str) -> None:
    """Postgres logs a refused row without its values."""
    administrator = postgres.for_administrator(database_url)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("ALTER ROLE threadsync_run_login SET log_parameter_max_length_on_error = -1")
    log = Path(postgres.server.log_path)
    before = len(log.read_text(errors="replace"))
    try:
        with (
            new_pool(database_url, max_size=1) as pool,
            pool.connection() as connection,
            pytest.raises(psycopg.errors.CheckViolation),
        ):
            connection.execute(
                "INSERT INTO channel_context (channel_id, context_data) VALUES ('C1', %s)",
                [json.dumps([CANARY])],
            )
    finally:
        with psycopg.connect(administrator, autocommit=True) as connection:
            connection.execute("ALTER ROLE threadsync_run_login RESET log_parameter_max_length_on_error")
    wait_until(
        lambda: "channel_context_object_check" in log.read_text(errors="replace")[before:], "it is told"
    )
    assert CANARY not in log.read_text(errors="replace")[before:]


def test_results_and_the_log_of_writes(app: Celery, valkey: ValkeyForTests, broker_url: str) -> None:
    """Results that name a person or a thread are deleted, and the append-only file is rewritten."""
    theirs = {"status": "SUCCESS", "result": {"channel_id": "C1", "thread_ts": "1.1", "user_id": PERSON}}
    about = {"status": "SUCCESS", "result": {"channel_id": "C1", "thread_ts": "2.2", "note": CANARY}}
    with redis.Redis.from_url(broker_url) as client:
        client.set("celery-task-meta-1", json.dumps(theirs))
        client.set("celery-task-meta-2", json.dumps(about))
        client.set("celery-task-meta-3", "{}")
        assert forget_results(app, Sought([PERSON], threads=[("C1", "2.2")])) == (2, "")
        assert client.keys() == [b"celery-task-meta-3"]
        assert PERSON.encode() in written(valkey)
        assert forget_logs(app, is_redis=True) == []
        # Another thread of the server deletes the replaced file.
        wait_until(lambda: PERSON.encode() not in written(valkey), "the former log is gone")
        assert CANARY.encode() not in written(valkey)
        assert PERSON.encode() not in str(client.slowlog_get()).encode()


def test_a_login_that_may_not_says_so(valkey: ValkeyForTests, broker_url: str) -> None:
    """A login without the rights to forget results and logs gets sentences that name what is missing."""
    parts = urlsplit(broker_url)
    with redis.Redis.from_url(broker_url) as client:
        client.acl_setuser(
            "narrow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], categories=["+@all"],
            commands=["-bgrewriteaof", "-slowlog", "-commandlog", "-scan"],
        )  # fmt: skip
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=f"narrow:pw@{host}"))
        try:
            with WorkersCelery("narrow", broker=url, backend=url, set_as_current=False) as app:
                app.conf.update(result_backend=url)
                deleted, left = forget_results(app, Sought([PERSON]))
                said = " ".join(forget_logs(app, is_redis=True))
                backend: Any = app.backend
                backend.client.close()
        finally:
            client.acl_deluser("narrow")
    assert deleted == 0
    assert "RESULT_TTL_SECONDS" in left
    assert "BGREWRITEAOF" in said
    assert "SLOWLOG RESET" in said

"""An installation on RabbitMQ forgets a person: in its queues, its delays and its stream of heartbeats."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import amqp
import pytest
from kombu import Connection
from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from tests.support.broker_pairs import RabbitClassic, Site, install_on
from tests.support.forgetting import dump
from tests.support.rabbitmq import RabbitMQ
from tests.support.servers import PostgresForTests, ValkeyForTests, ask
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync.liveness.rabbitmq import STREAM
from threadsync.queues import QUEUES
from worker.durable.rabbitmq.transport import DELAY_PREFIX

PERSON: Final = "U0OCELOT7"
NAME: Final = "Maya Ozelot"
CANARY: Final = re.compile(b"ocelot|ozelot", re.IGNORECASE)
DRAFT: Final = {"summary": "ocelot summary", "description": "ocelot told"}
MENTION: Final = {"summary": f"<@{PERSON}> knows, or\n{NAME}"}
ACTOR: Final = {"user_id": PERSON, "team_id": "T0"}
LATER: Final = {"drafted_at": "1700000009.000100"}
DELAY_SECONDS: Final = 12


class _Rabbit(RabbitClassic):
    user = "threadsync"


@pytest.fixture(scope="module")
def server(valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Rabbit]:
    server = _Rabbit(tmp_path_factory.mktemp("rabbitmq"), valkey)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["classic", "quorum"])
def site(
    request: pytest.FixtureRequest, server: _Rabbit, postgres: PostgresForTests, tmp_path: Path
) -> Iterator[Site]:
    server.kind = request.param
    with install_on(server, postgres, tmp_path) as site:
        yield site


def thread(number: int) -> dict[str, Any]:
    return {"channel_id": "C1", "thread_ts": f"1700000000.{number:06}"}


def forget(site: Site, *words: str) -> dict[str, Any]:
    """Run ``threadsync forget`` on the command line, and return its report."""
    argv = [sys.executable, "-m", "worker.cli", "forget", *words, "--reason", "asked", "--json"]
    env = {**site.env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def heartbeats(site: Site) -> bytes:
    """Return the whole stream of heartbeats, as it is stored."""
    found: list[bytes] = []
    with Connection(site.broker_url) as connection:
        opened: Any = connection.default_channel
        channel = opened.connection.channel()
        channel.basic_publish(amqp.Message("end"), "", STREAM)
        channel.basic_qos(0, 100, False)

        def take(message: Any) -> None:
            found.append(str(message.body).encode())
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(STREAM, callback=take, arguments={"x-stream-offset": "first"})
        while b"end" not in found:
            opened.connection.drain_events(timeout=10)
    return b"\n".join(found)


def on_disk(node: RabbitMQ) -> dict[str, int]:
    """Return the broker's files with canaries, and the number in each."""
    found = {}
    for path in node.data.rglob("*"):
        # The broker may delete the file just now.
        with suppress(FileNotFoundError):
            if path.is_file() and (hits := CANARY.findall(path.read_bytes())):
                found[path.name] = len(hits)
    return found


def test_a_person_is_forgotten(server: _Rabbit, site: Site) -> None:
    """Messages that wait in a queue, or until later, are redacted on arrival; the stream names no person."""
    with site.worker("first", SESSION_WAIT_SECONDS="60") as worker:
        for number in range(4):
            site.send("sessions.get_or_create", **thread(number), user_id=PERSON)
            site.send("sessions.request_sync", **thread(number), draft=DRAFT, **LATER, actor=ACTOR)
        # Due later: in the queues of delays.
        site.send_later(DELAY_SECONDS, "later-1", "sessions.get_or_create", **thread(10), user_id=PERSON)
        site.send_later(
            DELAY_SECONDS, "later-2", "sessions.request_sync", **thread(0), draft=MENTION, **LATER
        )
        # Waits for its session.
        site.send("sessions.request_sync", **thread(11), draft=DRAFT, **LATER, actor=ACTOR)
        wait_until(lambda: len(site.sessions()) == 4, "the first are there", 30)
        wait_until(lambda: "task waits" in worker.log, "one waits", 30)
    # With no worker: in the queue.
    site.send("sessions.get_or_create", **thread(12), user_id=PERSON)
    site.send("sessions.request_sync", **thread(12), draft=DRAFT, **LATER, actor=ACTOR)
    said = forget(site, "user", PERSON, "--name", NAME)
    assert said["sessions"] == 4
    assert "RabbitMQ" in " ".join(said["left"])
    with site.worker("second", SESSION_WAIT_SECONDS="2") as worker:
        wait_until(lambda: len(site.sessions()) == 6, "the others came", 60)
        wait_until(lambda: site.waiting() == 0, "nothing waits", 60)
        wait_until(lambda: len(site.dead_letters()) == 1, "one had no session", 60)
        requested = "SELECT count(*) FROM syncs WHERE draft ->> 'summary' = '(forgotten)'"
        assert ask(site.database_url, requested) == 5
        assert CANARY.search(dump(site.database_url).encode()) is None
        assert CANARY.search(worker.log.encode()) is None
        assert CANARY.search(heartbeats(site)) is None
    # An operator's way to clear the broker's files, in which acknowledged messages stay for a while.
    node: RabbitMQ = server.server
    with Connection(site.broker_url) as connection:
        channel: Any = connection.default_channel
        for queue in (*QUEUES, *(f"{DELAY_PREFIX}_{level_name(level)}" for level in range(MAX_LEVEL + 1))):
            channel.queue_delete(queue)
    node.stop()
    node.start()
    wait_until(lambda: on_disk(node) == {}, "its files have nothing of the person", 20)

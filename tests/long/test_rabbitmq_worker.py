"""What happens to a worker on RabbitMQ and on no other broker: queues that others made, or delete; alarms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from tasks.client import SessionClient
from tests.broker_pairs import RabbitClassic, Site, install_on
from tests.rabbitmq import RabbitMQ
from tests.servers import PostgresForTests, ValkeyForTests
from tests.waiting import wait_until
from worker.errors import EnqueueFailed


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
    """Without a worker; its queues are of this kind."""
    server.kind = request.param
    with install_on(server, postgres, tmp_path) as site:
        yield site


def a_client(site: Site) -> SessionClient:
    return SessionClient(site.env["CELERY_BROKER_URL"], site.env["CELERY_RESULT_BACKEND"])


def queue_of(site: Site, connection: Connection, **arguments: object) -> Queue:
    made = Queue("sessions", Exchange("sessions"), routing_key="sessions", queue_arguments=arguments or None)
    bound: Queue = made(connection.default_channel)
    return bound


def test_a_queue_that_is_deleted_is_made_again(site: Site) -> None:
    with site.worker() as worker, a_client(site) as client, Connection(site.broker_url) as operators:
        assert client.get_or_create("C1", "1700000000.000100", "U1").get(timeout=20).outcome == "created"
        ready = worker.log.count("Connected to")

        queue_of(site, operators).delete()

        wait_until(lambda: worker.log.count("Connected to") > ready, "the worker connects again", 20)
        wait_until(lambda: worker.is_alive, "it lives")
        assert client.get_or_create("C1", "1700000000.000200", "U1").get(timeout=20).outcome == "created"


def test_queues_of_an_operator_are_taken_from(site: Site) -> None:
    """Made otherwise than by default: of the other kind, with a limit."""
    with Connection(site.broker_url) as operators:
        limits = {"x-queue-type": "quorum", "x-delivery-limit": 50}
        other = {"x-queue-type": "classic", "x-max-priority": 3}
        queue_of(site, operators, **(other if "quorum" in site.broker_url else limits)).declare()
    with site.worker(), a_client(site) as client:
        assert client.get_or_create("C1", "1700000000.000100", "U1").get(timeout=20).outcome == "created"


def test_an_alarm_stops_senders_and_lets_workers_drain(server: _Rabbit, site: Site) -> None:
    node: RabbitMQ = server.server
    with a_client(site) as client, ExitStack() as stack:
        for number in range(20):
            client.get_or_create("C1", f"17000{number:05}.000100", "U1")
        node.control("set_vm_memory_high_watermark", "absolute", "1000")
        stack.callback(node.control, "set_vm_memory_high_watermark", "absolute", "2000000000")
        # It looks at its memory now and then.
        wait_until(lambda: not is_taken(client), "senders are refused", 20)

        with site.worker():
            wait_until(lambda: len(site.sessions()) >= 20, "the commands are carried out", 30)
            with Connection(site.broker_url) as looking:
                queue: Any = queue_of(site, looking)
                wait_until(lambda: queue.queue_declare(passive=True).message_count == 0, "they are gone")
            stack.close()
            wait_until(lambda: is_taken(client), "commands are taken again", 20)
    assert site.dead_letters() == []


def is_taken(client: SessionClient) -> bool:
    try:
        client.get_or_create("C3", "1700000000.000100", "U1")
    except EnqueueFailed:
        return False
    return True

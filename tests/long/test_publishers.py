"""Our publishers at brokers that do not confirm: none takes its message for sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import amqp
import pytest

from tests.support.rabbit_node import RabbitNode
from tests.support.redis_servers import RedisServer
from tests.support.relay import Relay
from tests.support.servers import PostgresForTests
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync.queues import QUEUES

_PUBLISH: Final = b"\x00\x3c\x00\x28"
"""AMQP's basic.publish, class 60 and method 40."""

REFUSED: Final = {
    # Slack sends the event again, or the caller does.
    "client": "EnqueueFailed",
    "client, channels.moved": "EnqueueFailed",
    "asyncio client": "EnqueueFailed",
    # The sweep makes up for these.
    "send_soon": "False",
    "send_soon, channels.moved": "False",
    "announcement": "False",
    # Its row stays, to be taken again after `AGAIN_AFTER_SECONDS`.
    "sweep": "0 sent, pending",
    "dead letter, sent again": "EnqueueFailed, dead",
    # Beat sends again when the entry is due again.
    "beat": "SchedulingError, next: True",
    # The command's own message goes back, and runs again.
    "copy of a command that waits": "Reject, requeue: True",
}

SENT: Final = {
    **dict.fromkeys(REFUSED, "sent"),
    "send_soon": "True",
    "send_soon, channels.moved": "True",
    "announcement": "True",
    "sweep": "1 sent, pending",
    "dead letter, sent again": "retried",
}

Fault = Callable[[Path, ExitStack], Mapping[str, str]]
"""Function that starts a broker, and returns the settings of its publishers; the stack ends the broker."""


def healthy_valkey(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a Valkey with its replica in reach."""
    master, _replica = _replicated(folder, stack)
    return {"CELERY_BROKER_URL": master.url(), "BROKER_WAIT_REPLICAS": "1"}


def replica_cut_off(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a Valkey whose replica is frozen, so that it alone has a message."""
    master, replica = _replicated(folder, stack)
    replica.freeze()
    return {"CELERY_BROKER_URL": master.url(), "BROKER_WAIT_REPLICAS": "1"}


def valkey_cut_off(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a Valkey behind a relay that ends each connection after LPUSH, before the reply."""
    server = stack.enter_context(RedisServer(folder))
    relay = stack.enter_context(Relay(server.port))
    relay.ends_after = b"LPUSH"
    return {"CELERY_BROKER_URL": server.url().replace(f":{server.port}/", f":{relay.port}/")}


def healthy_rabbitmq(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a RabbitMQ with a consumer of each queue."""
    node = stack.enter_context(RabbitNode(folder))
    _consume(node, stack)
    return {"CELERY_BROKER_URL": node.url()}


def rabbitmq_refuses(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a RabbitMQ whose queues are full, and refuse messages by a nack."""
    node = stack.enter_context(RabbitNode(folder))
    channel = _consume(node, stack, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    for queue in QUEUES:
        wait_until(lambda queue=queue: _is_full(channel, queue), "it is full")  # type: ignore[misc]
    return {"CELERY_BROKER_URL": node.url()}


def rabbitmq_cut_off(folder: Path, stack: ExitStack) -> Mapping[str, str]:
    """Start a RabbitMQ behind a relay that ends each connection after the publish, before the confirm."""
    node = stack.enter_context(RabbitNode(folder))
    _consume(node, stack)
    relay = stack.enter_context(Relay(node.port))
    relay.ends_after = _PUBLISH
    return {"CELERY_BROKER_URL": node.url().replace(f":{node.port}/", f":{relay.port}/")}


def _consume(node: RabbitNode, stack: ExitStack, **limits: object) -> Any:
    """Declare the queues, and take one message of each, as beat sends only where there is a consumer."""
    connection = amqp.Connection(f"127.0.0.1:{node.port}", login_method="PLAIN")
    connection.connect()
    channel: Any = stack.enter_context(closing(connection)).channel()
    channel.basic_qos(0, 1, False)
    for queue in QUEUES:
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments=limits)
        channel.basic_consume(queue, callback=lambda _: None)
    return channel


def _is_full(channel: Any, queue: str) -> bool:
    """Publish a message to the queue; return True if it still holds one alone."""
    channel.basic_publish(amqp.Message("{}"), routing_key=queue)
    return int(channel.queue_declare(queue, passive=True).message_count) == 1


def _replicated(folder: Path, stack: ExitStack) -> tuple[RedisServer, RedisServer]:
    master, replica = (stack.enter_context(RedisServer(folder / name)) for name in ("master", "replica"))
    with replica.client() as client:
        client.replicaof("127.0.0.1", str(master.port))
    with master.client() as client:
        client.set("k", "v")
        assert client.wait(1, 10_000) == 1
    return master, replica


HEALTHY: Final[tuple[Fault, ...]] = (healthy_valkey, healthy_rabbitmq)
FAULTS: Final[tuple[Fault, ...]] = (replica_cut_off, valkey_cut_off, rabbitmq_refuses, rabbitmq_cut_off)


@pytest.fixture(scope="module", params=(*HEALTHY, *FAULTS), ids=lambda fault: fault.__name__)
def outcomes(
    request: pytest.FixtureRequest, postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Fault, Mapping[str, str]]]:
    """Run each publisher on one broker, and yield the outcomes."""
    fault: Fault = request.param
    folder = tmp_path_factory.mktemp(fault.__name__)
    with ExitStack() as stack:
        database_url = stack.enter_context(postgres.database())
        env = {
            **os.environ,
            **fault(folder, stack),
            "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
            "DATABASE_URL": database_url,
            "SLACK_BOT_TOKEN": "xoxb-of-these-tests",
            "SLACK_API_URL": "http://127.0.0.1:1/",
            "PYTHONPATH": str(ROOT),
        }
        argv = [sys.executable, "-m", "tests.support.publishers"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)
        (folder / "stderr").write_text(done.stderr)
        assert done.returncode == 0
        found = json.loads(done.stdout.splitlines()[-1])
        assert found.keys() == REFUSED.keys()
        yield fault, found


@pytest.mark.parametrize("publisher", REFUSED)
def test_no_publisher_believes_what_was_not_confirmed(
    outcomes: tuple[Fault, Mapping[str, str]], publisher: str
) -> None:
    """A publisher without a confirm fails, tries again or keeps its row; with one it has sent."""
    fault, found = outcomes
    assert found[publisher] == (SENT if fault in HEALTHY else REFUSED)[publisher]

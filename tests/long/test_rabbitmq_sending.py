"""Sending to a real RabbitMQ: confirmed or refused within a second, whatever happens to the broker."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
import pytest

from tests.support.rabbit_node import RabbitNode
from tests.support.scale import scaled
from tests.support.senders import Senders, thread_ts_of
from tests.support.tls import Authority
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from threadsync import AsyncSessionClient, GetOrCreate, SessionClient
from threadsync.broker.errors import BROKER_ERRORS
from threadsync.config import get_settings
from threadsync.errors import EnqueueFailed, InvalidSettings
from worker.doctor.app import app_of

NOWHERE = "redis://127.0.0.1:1/0"
"""Address of results that are not read."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RabbitNode]:
    directory = tmp_path_factory.mktemp("rabbit")
    with RabbitNode(directory, authority=authority, client_certificates=True) as node:
        yield node


@pytest.fixture
def vhost(node: RabbitNode) -> str:
    """Make a virtual host of this test's own, and return its URL."""
    return node.add_vhost(f"v{uuid4().hex[:8]}")


def channel_of(url: str) -> Any:
    """Open a channel on a plain connection, for the test itself."""
    host, _, vhost = url.rpartition("@")[2].partition("/")
    connection = amqp.Connection(host, virtual_host=vhost, login_method="PLAIN", confirm_publish=True)
    connection.connect()
    return connection.channel()


def drained(url: str) -> set[str]:
    """Empty the queue, and return the thread_ts of each message."""
    channel = channel_of(url)
    with closing(channel.connection):
        found = set()
        while (message := channel.basic_get("sessions", no_ack=True)) is not None:
            found.add(thread_ts_of(json.loads(message.body)))
        return found


def send(client: SessionClient) -> None:
    client.get_or_create("C1", "1700000000.000001", "U1")


def refusal(action: Callable[[], object]) -> str:
    """Return the message of the promised error, which must come within a second, or two on a busy machine."""
    began = time.monotonic()
    with pytest.raises(EnqueueFailed) as raised:
        action()
    assert time.monotonic() - began < 2
    return str(raised.value)


def test_the_queue_may_be_of_any_kind(vhost: str) -> None:
    """A client sends to an existing quorum queue, and makes a deleted queue again."""
    with SessionClient(vhost, NOWHERE) as client:
        channel = channel_of(vhost)
        with closing(channel.connection):
            quorum = {"x-queue-type": "quorum"}
            channel.queue_declare("sessions", durable=True, auto_delete=False, arguments=quorum)
            send(client)
            send(client)
            assert channel.queue_delete("sessions") == 2
            send(client)
            assert channel.queue_delete("sessions") == 1


async def test_many_are_confirmed_one_after_the_other(vhost: str) -> None:
    """``send_many`` sends each command with its confirm; an error says how many were confirmed before it."""
    times = [f"1700000000.{number:06}" for number in range(40)]
    commands = [GetOrCreate(channel_id="C1", thread_ts=thread_ts, user_id="U1") for thread_ts in times]
    with SessionClient(vhost, NOWHERE) as client:
        handles = client.send_many(commands[:20])
        assert [handle.command for handle in handles] == commands[:20]
    async with AsyncSessionClient(vhost, NOWHERE) as async_client:
        assert len(await async_client.send_many(commands[20:])) == 20
    assert drained(vhost) == set(times)
    with SessionClient(vhost.replace(vhost.rpartition("/")[2], "nope"), NOWHERE) as client:
        with pytest.raises(EnqueueFailed) as refused:
            client.send_many(commands)
        assert refused.value.confirmed == 0


def test_a_vhost_of_quorum_queues(node: RabbitNode) -> None:
    url = node.add_vhost(f"q{uuid4().hex[:8]}", "quorum")
    with SessionClient(url, NOWHERE) as client:
        send(client)
        send(client)
    assert drained(url) == {"1700000000.000001"}


def test_tls_with_certificates_of_both(node: RabbitNode, authority: Authority) -> None:
    query = authority.query(authority.issue("client"))
    for url in (node.tls_url(), node.tls_url().replace("127.0.0.1", "localhost")):
        with SessionClient(f"{url}?{query}", NOWHERE) as client:
            send(client)
    for wrong in (node.tls_url(), f"{node.tls_url()}?{authority.query()}"):
        with SessionClient(wrong, NOWHERE) as client:
            assert "ssl" in refusal(lambda client=client: send(client)).lower()  # type: ignore[misc]


def test_the_hosts_name_is_checked(tmp_path: Path) -> None:
    """The host's name in the certificate is checked unless ``ssl_check_hostname`` is false."""
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    issue = authority.issue
    authority.issue = lambda name, subject="": issue(name, "DNS:elsewhere.example")  # type: ignore[method-assign]
    with RabbitNode(tmp_path / "r", authority=authority) as node:
        with SessionClient(f"{node.tls_url()}?{authority.query()}", NOWHERE) as client:
            assert "mismatch" in refusal(lambda: send(client))
        with SessionClient(
            f"{node.tls_url()}?{authority.query()}&ssl_check_hostname=false", NOWHERE
        ) as client:
            send(client)


@pytest.mark.parametrize("wrong", ["vhost", "password", "permission"])
def test_what_the_broker_refuses(node: RabbitNode, wrong: str) -> None:
    """A refusal of vhost, password or permission is raised as our error, not as py-amqp's."""
    if wrong == "permission":
        node.control("add_user", "mute", "mute")
        node.control("set_permissions", "mute", "^$", "^$", ".*")
    url = {
        "vhost": node.url("/nope"),
        "password": node.url(user="guest:wrong"),
        "permission": node.url(user="mute:mute"),
    }[wrong]
    with SessionClient(url, NOWHERE) as client:
        assert "broker did not" in refusal(lambda: send(client))


def test_every_publisher_hears_that_it_was_not_taken(vhost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each publisher learns by the confirm that a full queue refused its message."""
    channel = channel_of(vhost)
    with closing(channel.connection):
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        for queue in ("sessions", "syncs"):
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=full)
            channel.basic_publish(amqp.Message("{}"), routing_key=queue)
    monkeypatch.setenv("CELERY_BROKER_URL", vhost)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", NOWHERE)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    get_settings.cache_clear()
    with SessionClient() as client:
        assert "did not take" in refusal(lambda: send(client))
    for retry in (True, False):
        with app_of(get_settings()) as app, pytest.raises(BROKER_ERRORS):
            app.send_task(
                "sessions.get", queue="sessions", ignore_result=True, retry=retry, retry_policy=ONCE
            )


ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0}


def test_replicas_are_of_redis_alone(vhost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_WAIT_REPLICAS", "1")
    with pytest.raises(InvalidSettings, match="each message is confirmed"):
        SessionClient(vhost, NOWHERE)


def test_frozen_and_thawed(node: RabbitNode, authority: Authority, vhost: str) -> None:
    """Each call to a frozen broker fails within its second, TLS or not; later the same client goes on."""
    query = authority.query(authority.issue("client"))
    with SessionClient(vhost, NOWHERE) as plain, SessionClient(f"{node.tls_url()}?{query}", NOWHERE) as tls:
        send(plain)
        send(tls)
        node.freeze()
        try:
            for client in (plain, tls, plain, tls):
                refusal(lambda client=client: send(client))  # type: ignore[misc]
        finally:
            node.thaw()
        for client in (plain, tls):
            wait_until(lambda client=client: is_sent(client), "it goes on")  # type: ignore[misc]


def is_sent(client: SessionClient) -> bool:
    try:
        send(client)
    except EnqueueFailed:
        return False
    return True


def test_a_killed_broker_loses_nothing_that_it_confirmed(node: RabbitNode, vhost: str) -> None:
    """A broker killed three times loses no confirmed message; clients get the promised error alone."""
    total = scaled(4000)
    with Senders(vhost, total) as senders:
        for part in (1, 2, 3):
            wait_until(lambda part=part: len(senders.acknowledged) > total * part / 4, "some are sent", 60)  # type: ignore[misc]
            node.restart()
        senders.join(60)
    assert senders.surprises == []
    assert senders.refused
    assert senders.acknowledged <= drained(vhost)


def test_the_same_app_goes_on_after_the_broker_was_killed(
    node: RabbitNode, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the broker a publisher without retries (`send_soon`) fails once at most."""
    monkeypatch.setenv("CELERY_BROKER_URL", vhost)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", NOWHERE)
    get_settings.cache_clear()
    with app_of(get_settings()) as app:

        def is_published() -> bool:
            try:
                app.send_task("sessions.get", queue="sessions", ignore_result=True, retry=False)
            except BROKER_ERRORS:
                return False
            return True

        assert is_published()
        node.restart()
        assert [is_published() for _ in range(3)][1:] == [True, True]


FORKS = """
import os, sys
from kombu.pools import connections
from threadsync import SessionClient

url, results, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def send(*numbers):
    for number in numbers:
        client.get_or_create("C1", f"1700000000.{number:06}", "U1")
    return ports()

def ports():
    # Of the connection that sent last: all lie in their pools now.
    lie = [one for pool in connections.values() for one in pool._resource.queue]
    made = [one._connection for one in lie if getattr(one, "_connection", None)]
    return made[-1].transport.sock.getsockname()[1]

with SessionClient(url, results) as client:
    before = send(0)
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.read(reading, 1)
        after = send(*range(1, count + 1))
        # It ends as a program does, with all that Python does then.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert before == after == send(2 * count + 1), "the parent's was lost"
    else:
        own = send(count + 1)
        os.write(writing, b"1")
        assert before != own, "the child sends on its parent's"
        assert own == send(*range(count + 2, 2 * count + 1)), "the child's was lost"
"""


def test_a_client_works_after_a_fork(vhost: str) -> None:
    """After a fork parent and child send on connections of their own, as servers that preload the app do."""
    count = scaled(200)
    command = [sys.executable, "-c", FORKS, vhost, NOWHERE, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert drained(vhost) == {f"1700000000.{number:06}" for number in range(2 * count + 2)}

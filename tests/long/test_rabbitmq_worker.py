"""A worker in situations of RabbitMQ alone: an operator's queues, alarms, redeliveries."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from kombu import Connection, Exchange, Queue
from kombu.utils.url import parse_url

from tests.support.broker_pairs import RabbitClassic, Site, install_on
from tests.support.rabbitmq import RabbitMQ
from tests.support.relay import Relay
from tests.support.servers import PostgresForTests, ValkeyForTests, ask
from tests.support.waiting import wait_until
from tests.support.workers import DEADLY
from threadsync import SessionClient
from threadsync.broker.installation import owner_of, take_over
from threadsync.broker.ownership import KEY
from threadsync.config import load_settings
from threadsync.errors import EnqueueFailed
from threadsync.liveness.verdicts import verdict_on_no_worker
from worker.doctor.broker import examine_broker
from worker.doctor.finding import Finding


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
    """Install a site without a worker, with queues of each kind in turn."""
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
    """A worker takes from queues that an operator made, of another kind or with a limit."""
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
        # RabbitMQ checks its memory now and then.
        wait_until(lambda: not is_taken(client), "senders are refused", 20)
        with pytest.raises(EnqueueFailed, match="full"):
            client.get_or_create("C3", "1700000000.000100", "U1")
        found = {finding.check: finding for finding in examine(site)}
        assert found["broker: room"].level == "error", found
        signs = site.heartbeats()
        assert (signs.is_blind, "alarm" in str(signs.refusal)) == (True, True)
        assert verdict_on_no_worker(signs).state == "unwatched"

        with site.worker():
            wait_until(lambda: len(site.sessions()) >= 20, "the commands are carried out", 30)
            with Connection(site.broker_url) as looking:
                queue: Any = queue_of(site, looking)
                wait_until(lambda: queue.queue_declare(passive=True).message_count == 0, "they are gone")
            stack.close()
            wait_until(lambda: is_taken(client), "commands are taken again", 20)
    assert site.dead_letters() == []


def examine(site: Site) -> list[Finding]:
    names = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
    given: dict[str, Any] = {name.lower(): site.env[name] for name in names}
    return list(examine_broker(load_settings(**given)))


def is_taken(client: SessionClient) -> bool:
    try:
        client.get_or_create("C3", "1700000000.000100", "U1")
    except EnqueueFailed:
        return False
    return True


def in_queue(site: Site) -> int:
    """Return the number of messages that no worker has taken."""
    with Connection(site.broker_url) as looking:
        told: Any = queue_of(site, looking).queue_declare(passive=True)
        return int(told.message_count)


def test_what_is_only_prefetched_is_never_a_dead_letter(site: Site, tmp_path: Path) -> None:
    """A message that was only prefetched becomes no dead letter when its connection drops six times."""
    port = parse_url(site.broker_url)["port"]
    with Relay(port) as relay:
        through = site.broker_url.replace(f":{port}/", f":{relay.port}/")
        diaries = [tmp_path / f"diary{number}" for number in range(20)]
        results = [site.send("probe.take", str(diary), 1.5) for diary in diaries]
        with site.worker(CELERY_BROKER_URL=through) as worker:
            for _ in range(6):
                wait_until(lambda: in_queue(site) == 0, "all are prefetched", 30)
                connected = worker.log.count("Connected to")
                relay.drop()
                wait_until(lambda n=connected: worker.log.count("Connected to") > n, "it connects again", 30)  # type: ignore[misc]
            assert not diaries[-1].exists(), "it was to be prefetched and no more"
            assert {result.get(timeout=90) for result in results} == {"ended"}
    assert site.dead_letters() == []
    assert site.deaths() == []


def test_what_ends_the_process_that_opens_it_is_buried(site: Site) -> None:
    """A message that kills by its decompression becomes a dead letter, once a child opens it."""
    deaths = 0
    with site.worker() as worker:
        site.publish(b"[[], {}, {}]", task="probe.take", id="deadly", compression=DEADLY)

        def is_over() -> bool:
            nonlocal deaths
            if not worker.is_alive:
                deaths += 1
                worker.kill()
                worker.launch()
            return bool(site.dead_letters())

        wait_until(is_over, "it is buried", 90)
        (letter,) = site.dead_letters()
        wait_until(lambda: in_queue(site) == 0, "it is gone")
        assert worker.is_alive
    assert (letter.task_id, letter.error_type, letter.attempts) == ("deadly", "PoisonCommand", 5)
    assert letter.body == b"[[], {}, {}]"
    assert deaths == (2 if "quorum" in site.broker_url else 1)


def test_a_decompression_bomb_is_kept_as_it_came(site: Site) -> None:
    """A decompression bomb becomes a dead letter as it came, ends no process, and commands beside it run."""
    bomb = zlib.compress(bytes(200 << 20))
    with site.worker() as worker:
        site.publish(bomb, task="probe.take", id="bomb", compression="zlib")
        assert site.send("sessions.get", channel_id="C1", thread_ts="1.1").get(timeout=20) is None
        letter = site.dead_letter(lambda letter: letter.task_id == "bomb")
        assert (letter.body, letter.attempts) == (bomb, 1)
        assert worker.is_alive
    assert site.deaths() == []


def test_junk_without_an_id_is_kept_each_by_itself(site: Site) -> None:
    """Junk without an id is kept singly: AMQP's tags begin at 1 on each channel, and name no message."""
    for number in range(2):
        with site.worker(f"worker{number}"):
            site.publish(b"\x00 junk %d" % number)
            wait_until(lambda n=number: len(site.dead_letters()) > n, "it is buried", 20)  # type: ignore[misc]
    assert {letter.body for letter in site.dead_letters()} == {b"\x00 junk 0", b"\x00 junk 1"}


def test_a_long_pause_is_waited_once_and_in_the_broker(site: Site, tmp_path: Path) -> None:
    """A long pause is waited once, in the broker, by its length and not by a moment."""
    history = {"pauses": 3, "stuck": 20.0, "pause": 7.0}
    diary = tmp_path / "diary"
    with site.worker() as worker:
        site.celery.send_task(
            "probe.take", [str(diary), 0.0], queue="sessions", headers={"threadsync": history}, task_id="late"
        )
        marker = site.send("probe.take", str(tmp_path / "marker"), 0.0)
        assert marker.get(timeout=20) == "ended"
        # A held message would be handed back.
        worker.stop()
    assert not diary.exists()
    with Connection(site.broker_url) as looking:
        queue = queue_of(site, looking)
        assert queue.get() is None
        wait_until(lambda: in_queue(site) == 1, "its time has come", 30)
        message = queue.get()
        assert message is not None
        headers: Any = message.headers
        after = headers["threadsync"]
        assert (headers["id"], after["pauses"], after["stuck"]) == ("late", 3, 20.0)
        assert after["pause"] == 0, "it would wait again"
        message.requeue()
    with site.worker():
        wait_until(lambda: diary.exists() and "end" in diary.read_text(), "it runs", 20)


def test_what_is_revoked_is_dropped_wherever_it_waits(site: Site, tmp_path: Path) -> None:
    """A revoked message is dropped at once if it comes after its revocation, else when it is due."""
    diary, marker = tmp_path / "diary", tmp_path / "marker"
    worker = site.worker("worker", "--statedb", str(tmp_path / "state"))
    with worker:
        site.send_later(25, "revoked while it waits", "probe.take", str(diary), 0.0)
        # This message was behind the other one.
        assert site.send("probe.take", str(marker), 0.0).get(timeout=20) == "ended"
        for task_id in ("revoked before it comes", "revoked while it waits"):
            site.app.control.revoke(task_id)
            wait_until(lambda n=task_id: f"flagged as revoked: {n}" in worker.log, "it knows", 20)  # type: ignore[misc]
        site.send_later(3600, "revoked before it comes", "probe.take", str(diary), 0.0)
        dropped = "Discarding revoked task: probe.take"
        wait_until(lambda: f"{dropped}[revoked before" in worker.log, "it is dropped when it comes", 20)
        worker.stop()
        worker.start()
        wait_until(lambda: f"{dropped}[revoked while" in worker.log, "it is dropped when it is due", 60)
    assert not diary.exists()
    assert site.dead_letters() == []


def test_a_broker_of_another_installation_is_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another installation's broker is left alone by workers, and by clients and beat told theirs."""
    ours = str(ask(site.database_url, "SELECT id FROM installation"))
    theirs = str(UUID(int=2))
    with Connection(site.broker_url) as operators:
        with site.worker() as worker:
            assert owner_of(operators) == ours
            operators.default_channel.queue_delete(KEY)  # type: ignore[attr-defined]
            wait_until(lambda: owner_of(operators) == ours, "it is written again", 20)

            take_over(operators, theirs)

            wait_until(lambda: not worker.is_alive, "the worker ends", 30)
        second = site.worker("second")
        second.launch()
        wait_until(lambda: not second.is_alive, "the next one does not start", 30)
        for log in (worker.log, second.log):
            assert f"another installation, {theirs}; ours is {ours}" in log
            assert "Traceback" not in log

        monkeypatch.setenv("INSTALLATION_ID", ours)
        with a_client(site) as client, pytest.raises(EnqueueFailed, match=f"another installation, {theirs}"):
            client.get_or_create("C1", "1700000000.000100", "U1")
        beat = site.beat(INSTALLATION_ID=ours)
        try:
            diary = site.logs / "beat.log"
            wait_until(lambda: f"another installation, {theirs}" in diary.read_text(), "beat says it", 30)
        finally:
            beat.kill()
        for told in (theirs, ""):
            monkeypatch.setenv("INSTALLATION_ID", told)
            with a_client(site) as client:
                client.get_or_create("C1", "1700000000.000100", "U1")
    assert in_queue(site) == 2

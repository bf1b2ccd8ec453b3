"""Metrics for Prometheus: counters from each worker, the installation's state from one exporter."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from sandbox.jira.faults import CommitThenDrop
from sandbox.jira.server import JiraSandbox
from tests.support.exporter import exporter
from tests.support.installation import Installation
from tests.support.redis_servers import RedisServer
from tests.support.refusals import REFUSALS
from tests.support.scraping import Samples, samples_of, scrape
from tests.support.waiting import wait_until
from threadsync.config import load_settings
from worker.db.pool import new_pool
from worker.doctor.app import app_of
from worker.local.servers.port import free_port
from worker.operate.installation_metrics import registry_of

THREAD = {"channel_id": "C1", "thread_ts": "1700000000.000100"}
NO_THREAD = {"channel_id": "C1", "thread_ts": "1700000000.000200"}


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


def missing(samples: Samples, expected: Samples) -> Samples:
    """Return the expected samples that are too low, with their values."""
    return {name: samples.get(name, 0) for name, value in expected.items() if samples.get(name, 0) < value}


def at_least(samples: Samples, expected: Samples) -> bool:
    return not missing(samples, expected)


def until_counted(port: int, expected: Samples) -> None:
    try:
        wait_until(lambda: at_least(scrape(port), expected), "all is counted", 30)
    except AssertionError as exc:
        raise AssertionError(f"missing: {missing(scrape(port), expected)}") from exc


def test_a_worker_shows_what_its_processes_counted(installation: Installation, jira: JiraSandbox) -> None:
    """A worker exports counts of commands, Jira requests, doubts and dead letters from all its processes.

    The counts of a killed process stay. A new worker waits for the metrics port of one that is stopping.
    """
    port = free_port()
    settings = {
        "METRICS_PORT": str(port),
        "JIRA_URL": jira.url,
        "JIRA_EMAIL": jira.email,
        "JIRA_API_TOKEN": jira.token,
        "JIRA_PROJECT_KEY": "PROJ",
        "JIRA_TIMEOUT_SECONDS": "2",
    }
    jira.site.fail("create", CommitThenDrop())
    beat = ("--beat", "--schedule", str(installation.logs / "beat"))
    with installation.worker("counts", *beat, **settings) as worker:
        for _ in range(3):
            installation.send("sessions.get_or_create", **THREAD, user_id="U1").get(timeout=20)
        for status in ("ready_to_sync", "collecting"):
            installation.send("sessions.update_status", **THREAD, status=status).get(timeout=20)
        draft = {"summary": "Export fails", "description": "As told"}
        installation.send("sessions.request_sync", **THREAD, draft=draft, drafted_at="1700000001.000100")
        installation.send("sessions.mark_synced", **NO_THREAD, jira_key="PROJ-1")
        installation.publish(b"junk")
        expected: Samples = {
            'threadsync_commands_total{command="sessions.get_or_create",outcome="created"}': 1,
            'threadsync_commands_total{command="sessions.get_or_create",outcome="unchanged"}': 2,
            'threadsync_commands_total{command="sessions.update_status",outcome="applied"}': 1,
            'threadsync_commands_total{command="sessions.update_status",outcome="stale"}': 1,
            'threadsync_commands_total{command="sessions.request_sync",outcome="applied"}': 1,
            'threadsync_commands_total{command="sessions.mark_synced",outcome="failed"}': 1,
            'threadsync_commands_total{command="sessions.mark_synced",outcome="waits"}': 1,
            'threadsync_commands_total{command="syncs.sync",outcome="ok"}': 1,
            'threadsync_command_seconds_count{command="syncs.sync"}': 1,
            'threadsync_duplicates_prevented_total{kind="command"}': 3,
            'threadsync_duplicates_prevented_total{kind="ticket"}': 1,
            'threadsync_dead_letters_total{command="sessions.mark_synced"}': 1,
            'threadsync_dead_letters_total{command="unreadable"}': 1,
            'threadsync_jira_requests_total{answer="Unknown",request="create"}': 1,
            'threadsync_jira_requests_total{answer="ok",request="search"}': 2,
            'threadsync_jira_request_seconds_count{request="create"}': 1,
            "threadsync_ambiguous_creates_total": 1,
            'threadsync_ambiguous_creates_ended_total{end="found"}': 1,
        }
        until_counted(port, expected)
        before = scrape(port)
        assert not [name for name in before if "canary" in name or "syncs.sweep" in name], "no routine"
        for child in worker.children:
            child.kill()
        following = installation.worker("next", **settings)
        with following:
            wait_until(lambda: "metrics wait for their port" in following.log, "the next one waits", 20)
            assert at_least(scrape(port), before), "a killed child's counts stay"
            worker.stop()
            wait_until(lambda: "metrics are shown" in following.log, "the port is the next one's", 20)
            assert not at_least(scrape(port), before), "it counts from 0"
            following.stop()
    left = [*Path(tempfile.gettempdir()).glob(f"threadsync-metrics-{worker.pid}-*")]
    assert left == []


def test_the_end_of_the_login_is_shown(installation: Installation) -> None:
    """The exporter shows when the login to Jira ends: at the beginning of its day, in UTC."""
    with exporter(installation, JIRA_TOKEN_EXPIRES="2027-03-31") as port:
        ends = scrape(port)["threadsync_jira_token_expires_timestamp_seconds"]
    assert datetime.fromtimestamp(ends, UTC) == datetime(2027, 3, 31, tzinfo=UTC)


def test_the_installation_is_shown(installation: Installation) -> None:
    """The exporter shows every state, empty ones too, and for how long each queue has waited."""
    with exporter(installation) as port:
        installation.publish(b"junk", task="sessions.get_or_create", id="1", sent_at=1.0)
        samples = scrape(port)
        assert samples['threadsync_up{what="database"}'] == samples['threadsync_up{what="broker"}'] == 1
        assert samples['threadsync_queue_waiting{queue="sessions"}'] == 1
        assert samples['threadsync_queue_oldest_seconds{queue="sessions"}'] > 1_000_000_000
        assert samples['threadsync_queue_oldest_seconds{queue="syncs"}'] == 0
        for name, labels in {
            "threadsync_sessions": ("collecting", "ready_to_sync", "synced"),
            "threadsync_dead_letters": ("dead", "retried", "discarded"),
        }.items():
            label = "status" if name == "threadsync_sessions" else "state"
            assert {samples[f'{name}{{{label}="{value}"}}'] for value in labels} == {0}
        for state in ("pending", "inflight", "retry_wait", "unknown", "blocked", "failed", "review", "done"):
            assert samples[f'threadsync_syncs{{state="{state}"}}'] == 0
        assert samples["threadsync_jira_sites_in_trouble"] == 0
        assert samples["threadsync_slack_in_trouble"] == 0
        assert samples["threadsync_jira_token_expires_timestamp_seconds"] == math.inf
        assert samples['threadsync_status_messages{state="refused"}'] == 0
        beat = ("--beat", "--schedule", str(installation.logs / "beat"))
        with installation.worker("shown", *beat) as worker:
            installation.send("sessions.get_or_create", **THREAD, user_id="U1").get(timeout=20)
            expected = {
                'threadsync_sessions{status="collecting"}': 1.0,
                'threadsync_dead_letters{state="dead"}': 1.0,
            }
            wait_until(lambda: at_least(scrape(port), expected), "the row and the letter are seen", 20)
            canaries = {
                f'threadsync_canary_age_seconds{{queue="{queue}"}}'
                for queue in ("sessions", "syncs", "maintenance", "lookups")
            }
            wait_until(lambda: canaries <= scrape(port).keys(), "canaries come through", 20)
            node = f'threadsync_worker_silence_seconds{{worker="shown@{os.uname().nodename}"}}'
            assert scrape(port)[node] < 20
            assert scrape(port)["threadsync_beat_silence_seconds"] < 20
            worker.stop()


def test_metrics_bind_to_loopback_unless_told_otherwise(installation: Installation) -> None:
    """Metrics bind to loopback, or to METRICS_HOST only."""
    elsewhere = "127.0.0.2"
    with exporter(installation) as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection((elsewhere, port)).close()
    with (
        exporter(installation, host=elsewhere, METRICS_HOST=elsewhere) as port,
        pytest.raises(ConnectionRefusedError),
    ):
        socket.create_connection(("127.0.0.1", port)).close()


def test_the_brokers_memory_is_shown(installation: Installation, tmp_path: Path) -> None:
    """The exporter shows the broker's memory to a user with INFO, and a broker that refuses to be read."""
    may = "on >pw ~* &* +@all"
    users = [f"curious {may}", f"blinkered {may} -info", f"blind {may} -eval"]
    with RedisServer(tmp_path / "server", users=users) as server, server.client() as admin:
        admin.config_set("maxmemory", "100mb")

        def shown_to(user: str) -> Samples:
            return collected(installation, server.url(user=f"{user}:pw"))

        curious, blinkered, blind = shown_to("curious"), shown_to("blinkered"), shown_to("blind")
        assert curious["threadsync_broker_memory_limit_bytes"] == 100 * 1024 * 1024
        assert 0 < curious["threadsync_broker_memory_share"] < 0.5
        assert curious["threadsync_broker_memory_bytes"] > 100_000
        assert not [name for name in blinkered if "memory" in name]
        assert {samples['threadsync_up{what="broker"}'] for samples in (curious, blinkered, blind)} == {1}
        for samples in (curious, blinkered):
            assert samples["threadsync_broker_refuses"] == 0
            assert samples['threadsync_queue_waiting{queue="sessions"}'] == 0
        assert blind["threadsync_broker_refuses"] == 1
        assert not [name for name in blind if "queue" in name]
        # With a failed snapshot the server refuses even the connection's greeting.
        with REFUSALS["no snapshot"].until_mended(server, admin):
            refusing = shown_to("curious")
        assert refusing['threadsync_up{what="broker"}'] == refusing["threadsync_broker_refuses"] == 1
        assert refusing['threadsync_queue_waiting{queue="sessions"}'] == 0


def collected(installation: Installation, broker_url: str) -> Samples:
    """Return the samples of the exporter's collector, run in this process."""
    app = app_of(load_settings(celery_broker_url=broker_url))
    with new_pool(installation.database_url) as pool:
        return samples_of(generate_latest(registry_of(pool, app)).decode())


def test_what_is_away_is_shown_as_away(installation: Installation) -> None:
    """The exporter shows an absent database and broker as 0 and goes on."""
    with exporter(
        installation,
        DATABASE_URL="postgresql://127.0.0.1:1/nowhere",
        CELERY_BROKER_URL="redis://127.0.0.1:1/0",
    ) as port:
        samples = scrape(port)
        assert samples['threadsync_up{what="broker"}'] == samples['threadsync_up{what="database"}'] == 0
        assert not [name for name in samples if name.startswith("threadsync_s")]


def test_a_worker_without_a_port_loads_nothing_of_it() -> None:
    """A worker without a metrics port does not import prometheus_client."""
    code = "import sys, worker.celery, worker.durable.task; print('prometheus_client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"

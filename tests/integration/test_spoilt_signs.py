"""Unreadable fields among the heartbeats, which each reader reports while it uses the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from prometheus_client import generate_latest

from tests.support.command_runs import run_in
from tests.support.scraping import samples_of
from tests.support.slack_app import running_app
from threadsync import AsyncSessionClient
from threadsync.config import load_settings
from threadsync.liveness.heartbeats import (
    KEY,
    beat_sent_canaries,
    canary_came_through,
    channel_of,
    heartbeats_of,
    worker_is_there,
)
from threadsync.liveness.state import Heartbeats, QueueUse
from threadsync.queues import QUEUES
from worker.db.pool import Pool
from worker.doctor.app import app_of
from worker.doctor.running import judge
from worker.operate.installation_metrics import registry_of

NOW = 4_000_000_000
NOTHING = b""

SPOILT: dict[str, tuple[bytes, bytes]] = {
    "no JSON": (b"worker:forged@host", b"not json"),
    "nothing": (b"canary:sessions2", NOTHING),
    "a list": (b"worker:forged@host", b"[1, 2]"),
    "a number": (b"beat2", b"7"),
    "nested deep": (b"worker:forged@host", b"[" * 8_000 + b"]" * 8_000),
    "without a moment": (b"socket:host:1", b'{"silence": 1}'),
    "a moment that is text": (b"canary:syncs2", b'{"at": "2026-01-01", "since": 1}'),
    "a moment to come": (b"worker:forged@host", json.dumps({"at": NOW, "since": 1, "queues": []}).encode()),
    "no number": (b"worker:forged@host", b'{"at": NaN, "since": 1, "queues": []}'),
    "beyond numbers": (b"worker:forged@host", b'{"at": 1e999, "since": 1, "queues": []}'),
    "large": (b"worker:forged@host", b'{"at": 1, "pad": "' + b"x" * 100_000 + b'"}'),
    "a name that is no text": (b"worker:\xff\xfe", b'{"since": 1}'),
}
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "queues of another type": ("worker:forged@host", {"queues": "sessions"}),
    "a use without a queue": ("worker:forged@host", {"queues": [{"asked": 1, "ended": 1}]}),
    "a use to come": (
        "worker:forged@host",
        {"queues": [{"queue": "sessions", "asked": -1e9}]},
    ),
    "a clock that is text": ("worker:forged@host", {"queues": [], "skew": "2"}),
    "a silence to come": ("socket:host:1", {"silence": -5}),
    "a database that is none": ("place:forged@host", {"database": {"a": 1}, "skew": 0}),
    "a kind of its own": ("horoscope:host", {"silence": 1}),
    "a name with a line's end": ("worker:a\nforged 1", {"queues": []}),
    "a name that moves the cursor": ("worker:\x1b[2J", {"queues": []}),
}


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """Yield a broker with heartbeats of a worker and beat, and a canary of each queue."""
    tell(broker_url)
    with redis.Redis.from_url(broker_url) as client:
        yield client


def tell(broker_url: str) -> None:
    with channel_of(app_of(load_settings(celery_broker_url=broker_url))) as channel:
        worker_is_there(channel, "sessions@host", {"sessions": QueueUse(1.0, 1.0)})
        beat_sent_canaries(channel)
        for queue in QUEUES:
            canary_came_through(channel, queue, "sessions@host", 1.0)


def looked(broker_url: str) -> Heartbeats:
    signs = heartbeats_of(app_of(load_settings(celery_broker_url=broker_url)))
    assert signs is not None
    return signs


def goes_on(signs: Heartbeats, spoilt: int) -> None:
    assert set(signs.workers) == {"sessions@host"}
    assert signs.canaries.keys() == set(QUEUES)
    assert (signs.is_blind, signs.refusal, signs.unreadable) == (False, None, spoilt)
    assert signs.beat is not None
    levels = {finding.check: finding.level for finding in judge(signs)}
    assert levels["running: heartbeats"] == "warning"
    assert set(levels.values()) <= {"ok", "warning", "skipped"}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_field_that_is_no_sign(broker: redis.Redis, broker_url: str, kind: str) -> None:
    """An unreadable field is counted, removed at the next heartbeat, and reported for an hour."""
    name, value = SPOILT[kind]
    broker.hset(KEY, name, value)
    goes_on(looked(broker_url), 1)
    tell(broker_url)
    assert not broker.hexists(KEY, name)
    goes_on(looked(broker_url), 1)


@pytest.mark.parametrize("kind", ODD)
def test_a_sign_of_odd_members(broker: redis.Redis, broker_url: str, kind: str) -> None:
    """A heartbeat with odd members is counted as unreadable, as it may come from another release."""
    name, sign = ODD[kind]
    seconds = broker.time()[0]
    broker.hset(KEY, name, json.dumps({"at": seconds, "since": seconds, **sign}))
    goes_on(looked(broker_url), 1)
    tell(broker_url)
    goes_on(looked(broker_url), 1)


def test_a_key_of_another_type(broker: redis.Redis, broker_url: str) -> None:
    """A key of another type is counted and replaced by a hash at the next heartbeat."""
    broker.set(KEY, "forged")
    signs = looked(broker_url)
    assert (signs.is_blind, signs.unreadable) == (False, 1)
    tell(broker_url)
    goes_on(looked(broker_url), 1)


def flood(broker: redis.Redis) -> None:
    """Write 5,000 forged fields, most of them in the format of heartbeats."""
    seconds = broker.time()[0]
    moment = {"at": seconds, "since": seconds}
    forged: dict[Any, Any] = {}
    for number in range(1_000):
        forged[f"worker:forged{number}@h"] = json.dumps({**moment, "queues": [], "skew": 9})
        forged[f"canary:forged{number}"] = json.dumps(moment)
        forged[f"socket:h:{number}"] = json.dumps({**moment, "silence": 1})
        forged[f"place:forged{number}@h"] = json.dumps({**moment, "database": f"d{number}", "skew": 9})
        forged[f"junk{number}"] = "junk"
    broker.hset(KEY, mapping=forged)


def test_metrics_have_a_bounded_number_of_series(broker: redis.Redis, broker_url: str, pool: Pool) -> None:
    """Metrics have a bounded number of series however many fields there are."""
    flood(broker)
    app = app_of(load_settings(celery_broker_url=broker_url))
    samples = samples_of(generate_latest(registry_of(pool, app)).decode())
    assert samples["threadsync_signs_unreadable"] == 1_000
    assert samples['threadsync_up{what="broker"}'] == 1
    assert len(samples) < 700


async def test_the_web_process_is_ready_all_the_same(broker: redis.Redis, broker_url: str) -> None:
    """`/readyz` reports the unreadable fields and judges by the others."""
    flood(broker)
    async with running_app(AsyncSessionClient(broker_url, broker_url)) as app:
        answer = await app.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["queues"] == dict.fromkeys(QUEUES, "ok")
    assert answer.json()["unreadable_signs"] == 1_000


def test_health_and_doctor_say_so(broker: redis.Redis, broker_url: str, process_env: dict[str, str]) -> None:
    """The health check and the doctor report the unreadable fields without failing or escape sequences."""
    flood(broker)
    broker.hset(KEY, "worker:\x1b[31m@h", "junk")
    done = run_in(process_env, "health", "beat")
    assert (done.returncode, done.stderr) == (0, "")
    assert "signs: spoilt, 1001 fields of threadsync.signs are or were none of ours" in done.stdout
    assert "\x1b" not in done.stdout
    found = {finding.check: finding for finding in judge(looked(broker_url))}
    assert "1001 fields" in found["running: heartbeats"].message
    assert all(len(finding.message) < 5_000 for finding in found.values())

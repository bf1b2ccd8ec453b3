"""Failover to a replica that was cut off: no acknowledged command may be missing there."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import cast

import pytest
import redis

from tests.support.redis_servers import RedisServer, SentinelSet
from tests.support.scale import scaled
from tests.support.senders import Senders, thread_ts_of
from tests.support.waiting import wait_until


def test_replicas_cut_off_and_the_master_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No acknowledged command is lost when the master dies after its replicas stood still under load."""
    total = scaled(3000)
    monkeypatch.setenv("BROKER_WAIT_REPLICAS", "1")
    with SentinelSet(tmp_path) as sentinels:
        monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", json.dumps(sentinels.options))
        master, replicas = sentinels.master, sentinels.replicas
        with Senders(sentinels.url, total) as senders:
            wait_until(lambda: len(senders.acknowledged) > total / 2, "half are sent", 60)
            for replica in replicas:
                replica.freeze()
            before = written(master)
            # About as many as arrive in 2 s, each refused by WAIT.
            wait_until(lambda: written(master) > before + 8 and senders.refused > 8, "more are sent", 20)
            master.kill()
            for replica in replicas:
                replica.thaw()
            senders.join(90)
        assert senders.surprises == []
        # The first sentinel may learn of the new master from the others, seconds later.
        wait_until(lambda: sentinels.master is not master, "the sentinels agree", 10)
        with sentinels.master.client() as client:
            messages = cast(list[str], client.lrange("sessions", 0, -1))
        found = {thread_ts_of(json.loads(b64decode(json.loads(message)["body"]))) for message in messages}
    assert len(senders.acknowledged) >= total
    assert senders.acknowledged <= found


def written(server: RedisServer) -> int:
    with server.client() as client:
        return int(cast(redis.Redis, client).llen("sessions"))

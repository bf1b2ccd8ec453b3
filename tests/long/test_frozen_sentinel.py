"""A Sentinel's master that stands still, then goes on: another one takes over, and no worker hangs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from tests.support.frozen import family, standing_still
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.scale import scaled
from tests.support.sentinel import MASTER_NAME, Watched, sentinel_over
from tests.support.stopping import STOP_SECONDS, has_it
from tests.support.waiting import wait_until
from threadsync import SessionClient
from worker.local.servers.valkey import EmbeddedValkey

OPTIONS = json.dumps({"master_name": MASTER_NAME})


class OnSentinel(Installation):
    """Installation whose broker and results are at the sentinel's master."""

    def __init__(self, database_url: str, watched: Watched, logs: Path) -> None:
        super().__init__(database_url, watched.servers[0].url, logs)
        self._watched = watched
        self.env |= {"CELERY_BROKER_URL": watched.url, "CELERY_BROKER_TRANSPORT_OPTIONS": OPTIONS}

    def waiting(self) -> int:
        url = self._watched.serving().url.replace(
            self._watched.serving().password, self._watched.servers[0].password
        )
        with redis.Redis.from_url(url) as client, client.pipeline(transaction=True) as both:
            return sum(both.llen("sessions").hlen("unacked").execute())


@pytest.fixture
def watched(own_valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Watched]:
    with sentinel_over(own_valkey, tmp_path, down_after_milliseconds=1000) as watched:
        yield watched


def freeze_until_another_serves(watched: Watched) -> None:
    former = watched.serving()
    with standing_still(*family(former.pid)):
        wait_until(lambda: watched.serving() is not former, "another one is the master", timeout=30)
    # The sentinel tells it, when it answers again.
    wait_until(watched.has_replica, "the former one follows", timeout=60)


@pytest.mark.timeout(900)
def test_no_worker_hangs_when_the_master_stands_still(
    database_url: str, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both workers go on after each standstill of the master, and can be stopped at the end."""
    monkeypatch.setenv("CELERY_BROKER_TRANSPORT_OPTIONS", OPTIONS)
    load = Load(seed=31, threads=40)
    with closing(OnSentinel(database_url, watched, tmp_path)) as installation, ExitStack() as stack:
        workers = [
            stack.enter_context(installation.worker(name, SESSION_WAIT_SECONDS="30"))
            for name in ("first", "second")
        ]
        client = stack.enter_context(SessionClient(watched.url))
        for number in range(scaled(10)):
            freeze_until_another_serves(watched)
            for message in load.messages:
                wait_until(lambda message=message: has_it(client, message), "the broker has it", 60)  # type: ignore[misc]
            wait_until(lambda: installation.waiting() == 0, "both have taken what there is", timeout=60)
            handle = client.get_or_create("C8", f"1800000000.{number:06}", "U1")
            assert handle.get(timeout=60).thread_ts == f"1800000000.{number:06}"
            assert [worker.is_alive for worker in workers] == [True, True]
        assert installation.dead_letters() == []
        for worker in workers:
            worker.stop(grace=STOP_SECONDS)

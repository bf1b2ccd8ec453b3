"""A worker that stops while the broker is frozen, and asks it once instead of call by call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery.worker import state
from kombu import Connection

from tests.support.frozen import family, standing_still
from worker.durable import silence
from worker.local.servers.valkey import EmbeddedValkey


@pytest.fixture
def channel(own_valkey: EmbeddedValkey) -> Iterator[Any]:
    """Open a worker's channel with short time-outs."""
    options = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
    connection: Any = Connection(
        own_valkey.url, transport="worker.durable.transport:DurableTransport", transport_options=options
    )
    with connection:
        yield connection.channel()


def error_of(channel: Any) -> type[BaseException]:
    with pytest.raises((redis.TimeoutError, redis.ConnectionError)) as caught:
        channel.run_script("return 1", [], [])
    return caught.type


@pytest.mark.parametrize(("flag", "code"), [("should_stop", 0), ("should_terminate", True)])
def test_a_worker_that_stops_waits_once(
    channel: Any, own_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, flag: str, code: object
) -> None:
    """A stopping worker waits for a frozen broker once, and asks again after a while."""
    monkeypatch.setattr(state, flag, code)
    with standing_still(*family(own_valkey.pid)):
        assert error_of(channel) is redis.TimeoutError
        assert [error_of(channel) for _ in range(3)] == [redis.ConnectionError] * 3
    monkeypatch.setattr(silence, "ASK_AGAIN_SECONDS", 0.0)
    assert channel.run_script("return 1", [], []) == 1
    monkeypatch.setattr(silence, "ASK_AGAIN_SECONDS", 3600.0)
    assert channel.run_script("return 1", [], []) == 1, "an answer ends the silence"


def test_one_that_works_on_asks_each_time(channel: Any, own_valkey: EmbeddedValkey) -> None:
    """A worker that goes on asks a frozen broker at each call."""
    with standing_still(*family(own_valkey.pid)):
        assert [error_of(channel) for _ in range(2)] == [redis.TimeoutError] * 2
    assert channel.run_script("return 1", [], []) == 1


def test_a_refusal_is_no_silence(channel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "should_stop", 0)
    with pytest.raises(redis.ResponseError):
        channel.run_script("this is no script", [], [])
    assert channel.run_script("return 1", [], []) == 1

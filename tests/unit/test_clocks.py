"""Clock skew and shared brokers: how they are found and reported. Pure functions."""

from __future__ import annotations

import time

import pytest

from threadsync.broker import clocks
from threadsync.broker.clocks import offset
from threadsync.liveness.state import Heartbeats, Place, Skew
from threadsync.liveness.verdicts import skewed_clocks, two_databases
from worker.doctor.holes import hole_in
from worker.durable.retry_policy import LONGEST_PAUSE_SECONDS, History


def heartbeats(skews: dict[str, Skew] | None = None, places: dict[str, Place] | None = None) -> Heartbeats:
    return Heartbeats({}, {}, {}, 1.0, 100.0, 0, skews or {}, places or {})


@pytest.mark.parametrize(
    ("theirs", "certain"),
    [(1000.5, 0.0), (1000.0, 0.0), (1001.0, 0.0), (990.5, 9.5), (1310.5, -309.5)],
)
def test_what_the_question_took_is_doubt(theirs: float, certain: float) -> None:
    """A clock read between 1000 and 1001 is certainly off only by what lies outside of that second."""
    assert offset(theirs, asked=1000.0, answered=1001.0).certain == pytest.approx(certain)


def test_a_clock_that_is_set_meanwhile_needs_no_new_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set meanwhile is followed by the monotonic clock, without a new measurement."""
    now = time.time()
    clocks.broker_said(now, now, now)
    monkeypatch.setattr(time, "time", lambda: now + 300.0)
    known = clocks.ahead_of_broker()
    assert known is not None
    assert known.seconds == pytest.approx(300.0, abs=5.0)
    assert clocks.broker_time() == pytest.approx(now, abs=5.0)


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (Skew(0.0, 0.0), None),
        (Skew(1.9, -1.9), None),
        (Skew(None, None), None),
        (Skew(300.2, 0.1), "300 s ahead of the broker's"),
        (Skew(-30.0, None), "30 s behind the broker's"),
        (Skew(0.0, -3.0), "3 s behind Postgres'"),
        (Skew(10.0, 20.0), "10 s ahead of the broker's and 20 s ahead of Postgres'"),
    ],
)
def test_a_skew_of_more_than_two_seconds_is_said(skew: Skew, words: str | None) -> None:
    """A skew of more than two seconds is reported with the process, its size and the clock beside it."""
    said = skewed_clocks(heartbeats({"sessions@a": skew}))
    assert [words in verdict.why for verdict in said.values()] == ([True] if words else [])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "other", "is_found"),
    [
        (Place("a", 1, 500), Place("a", 2, 500), False),
        # Each was reported after the first report of the other.
        (Place("a", 1, 500), Place("b", 2, 400), True),
        # A failover: the first process does not know of the new database yet.
        (Place("a", 12, 500), Place("b", 1, 10), False),
        # A worker that was stopped.
        (Place("a", 300, 5000), Place("b", 1, 1000), False),
    ],
)
def test_two_databases_are_told_from_a_failover(one: Place, other: Place, is_found: bool) -> None:
    """Two databases are reported only if both are written to at the same time, unlike a failover."""
    assert (two_databases(heartbeats(places={"a@a": one, "b@b": other})) is not None) == is_found


def test_a_pause_is_no_longer_than_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A pause in a header is ignored if it is longer than any of ours."""
    from worker.durable.retry_policy import HEADER, read_history

    assert read_history({HEADER: {"pause": LONGEST_PAUSE_SECONDS}}).pause == LONGEST_PAUSE_SECONDS
    assert read_history({HEADER: {"pause": 3600}}) == History()


@pytest.mark.parametrize(
    ("kind", "version", "known"),
    [
        ("valkey", "9.1.1", True),
        ("valkey", "9.1.2", False),
        ("valkey", "9.2.0", False),
        ("valkey", "8.1.1", True),
        ("redis", "7.0.15", True),
        ("redis", "7.2.11", False),
        ("redis", "7.4.5", True),
        ("redis", "8.0.4", False),
        ("redis", "8.2.2", False),
        ("redis", "unknown", False),
    ],
)
def test_a_server_with_known_holes_is_named(kind: str, version: str, known: bool) -> None:
    """A server whose version has known security holes is named."""
    assert (hole_in(kind, version) is not None) == known

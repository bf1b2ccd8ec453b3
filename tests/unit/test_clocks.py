"""How far clocks are apart, which databases share a broker, and what is said of it. Pure."""

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
    """Asked at 1000, answered at 1001: the other clock was read in between, nobody knows when."""
    assert offset(theirs, asked=1000.0, answered=1001.0).certain == pytest.approx(certain)


def test_a_clock_that_is_set_meanwhile_needs_no_new_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own monotonic clock says by how much it was set."""
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
    """Of which process, by how much, and beside whose clock."""
    said = skewed_clocks(heartbeats({"sessions@a": skew}))
    assert [words in verdict.why for verdict in said.values()] == ([True] if words else [])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "other", "is_found"),
    [
        (Place("a", 1, 500), Place("a", 2, 500), False),
        # Each has said so since the other first did.
        (Place("a", 1, 500), Place("b", 2, 400), True),
        # Failed over: the first has not heard of the new one yet.
        (Place("a", 12, 500), Place("b", 1, 10), False),
        # A worker that was stopped.
        (Place("a", 300, 5000), Place("b", 1, 1000), False),
    ],
)
def test_two_databases_are_told_from_a_failover(one: Place, other: Place, is_found: bool) -> None:
    """Two that are written to at the same time, not one after the other."""
    assert (two_databases(heartbeats(places={"a@a": one, "b@b": other})) is not None) == is_found


def test_a_pause_is_no_longer_than_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A header of somebody else's making cannot hold a message for an hour."""
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
    """By its version alone, so it is no more than information."""
    assert (hole_in(kind, version) is not None) == known

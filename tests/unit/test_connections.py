"""Choice of the connection that is dropped when all places are taken."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from handlers.connections import MOST_CONNECTIONS, Connections, accepted_at_once, places
from tests.support.documents import ROOT


class Open:
    """A connection that only notes that it was dropped."""

    def __init__(self) -> None:
        self.is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


def admitted(connections: Connections, number: int) -> list[Open]:
    made = [Open() for _ in range(number)]
    assert [connections.admit(connection) for connection in made] == [True] * number
    return made


def test_the_one_that_keeps_us_waiting_longest_gives_way() -> None:
    """The connection that has kept us waiting longest is dropped first, and pages are dropped last."""
    connections = Connections(5, lambda: 0.0)
    first, second, third, fourth, fifth = admitted(connections, 5)
    connections.move(first, "page")
    connections.move(second, "body")
    connections.move(third, "unread")
    order = [fourth, fifth, second, third, first]
    for number, slowest in enumerate(order):
        (newest,) = admitted(connections, 1)
        connections.move(newest, "answer")
        assert [connection.is_dropped for connection in order] == [place <= number for place in range(5)]
        assert slowest.is_dropped


def test_a_new_one_is_not_the_first_to_go() -> None:
    """A new connection is not dropped before older ones that have sent only half a body."""
    connections = Connections(10)
    for slow in admitted(connections, 10):
        connections.move(slow, "body")
    (honest,) = admitted(connections, 1)
    admitted(connections, 9)
    assert not honest.is_dropped
    admitted(connections, 1)
    assert honest.is_dropped


def test_a_new_one_does_not_go_for_pages_that_came_before() -> None:
    """A new connection is not dropped before older pages, unless it has kept us waiting for a second."""
    now = 100.0
    connections = Connections(3, lambda: now)
    pages = admitted(connections, 2)
    for page in pages:
        connections.move(page, "page")
    now = 101.0
    (slow,) = admitted(connections, 1)
    now = 101.5
    (honest,) = admitted(connections, 1)
    assert [one.is_dropped for one in (*pages, slow, honest)] == [True, False, False, False]
    now = 102.1
    admitted(connections, 1)
    assert [one.is_dropped for one in (*pages, slow, honest)] == [True, False, True, False]


def test_what_was_dropped_stays_away() -> None:
    """A dropped connection takes no place, also if its state changes afterwards."""
    connections = Connections(1)
    (dropped,) = admitted(connections, 1)
    admitted(connections, 1)
    connections.move(dropped, "unread")
    assert len(connections) == 1


def test_an_answer_to_slack_is_never_dropped() -> None:
    """A connection with a reply to Slack is never dropped; a new one is refused in its place."""
    connections = Connections(2)
    answered = admitted(connections, 2)
    for connection in answered:
        connections.move(connection, "answer")
    assert not connections.admit(Open())
    assert not any(connection.is_dropped for connection in answered)
    connections.remove(answered[0])
    connections.remove(answered[0])
    assert len(connections) == 1
    admitted(connections, 1)


@pytest.mark.parametrize(
    ("descriptors", "expected"),
    [(64, 64), (256, 64), (1_024, 768), (20_000, MOST_CONNECTIONS), (1_048_576, MOST_CONNECTIONS)],
)
def test_there_are_places_for_as_many_as_there_are_descriptors(descriptors: int, expected: int) -> None:
    """Places follow the number of descriptors, less those for the broker, Slack and the logs."""
    assert places(descriptors) == expected


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(64, 1), (256, 4), (1_024, 32), (2_300, 37), (8_192, 125), (1_048_576, 125)]
)
def test_a_bounded_number_is_accepted_at_once(descriptors: int, expected: int) -> None:
    """The connections accepted at once leave descriptors free in a flood, and others time to be read."""
    assert accepted_at_once(descriptors) == expected


@pytest.mark.parametrize(("soft", "hard"), [(256, 512), (512, 512)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    """The soft limit is raised to the hard one, and returned also if it was already equal."""
    code = "from handlers.connections import raise_descriptor_limit as r; import resource; "
    code += "print(r(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            code,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"{hard} {hard} {hard}\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= hard, "this process keeps its own"

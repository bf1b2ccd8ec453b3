"""Which connection gives way when all places are taken."""

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
    """Whatever it waits for: head, half a body, or a peer who does not read; pages go last."""
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
    """Where all others have sent half a body, the next ones push out those."""
    connections = Connections(10)
    for slow in admitted(connections, 10):
        connections.move(slow, "body")
    (honest,) = admitted(connections, 1)
    admitted(connections, 9)
    assert not honest.is_dropped
    admitted(connections, 1)
    assert honest.is_dropped


def test_a_new_one_does_not_go_for_pages_that_came_before() -> None:
    """Where all others are asked for pages; one that has kept us waiting for a second goes before them."""
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
    """Also if its end is still under way, and it says where it stands."""
    connections = Connections(1)
    (dropped,) = admitted(connections, 1)
    admitted(connections, 1)
    connections.move(dropped, "unread")
    assert len(connections) == 1


def test_an_answer_to_slack_is_never_dropped() -> None:
    """Then the new one is refused; and one that went makes room."""
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
    """Less what the broker, Slack and the logs need."""
    assert places(descriptors) == expected


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(64, 1), (256, 24), (1_024, 32), (8_192, 774), (1_048_576, 1_024)]
)
def test_no_more_are_accepted_at_once_than_there_are_descriptors_for(descriptors: int, expected: int) -> None:
    """Beside those that have a place: a flood's burst must not take the last descriptor."""
    assert accepted_at_once(descriptors) == expected


@pytest.mark.parametrize(("soft", "hard"), [(256, 512), (512, 512)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    """And told, also where it was as high before."""
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

"""Which connection gives way when all places are taken."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from handlers.connections import MOST_CONNECTIONS, Connections, places
from tests.documents import ROOT


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
    """Those without a whole head first, the oldest of them; then who does not read; then half a body."""
    connections = Connections(4)
    first, second, third, fourth = admitted(connections, 4)
    connections.move(first, "body")
    connections.move(second, "unread")
    order = [third, fourth, second, first]
    for number, slowest in enumerate(order):
        (newest,) = admitted(connections, 1)
        connections.move(newest, "answer")
        assert [connection.is_dropped for connection in order] == [place <= number for place in range(4)]
        assert slowest.is_dropped


def test_what_is_being_answered_is_never_dropped() -> None:
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

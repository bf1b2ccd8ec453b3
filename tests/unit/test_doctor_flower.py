"""The doctor's verdict on the addresses at which Flower listens."""

from __future__ import annotations

import pytest

from worker.doctor.flower import judge_address


@pytest.mark.parametrize(
    ("reachable", "published_at", "level"),
    [
        ([], "", "ok"),
        (["10.0.0.7"], "", "warning"),
        (["172.20.0.3"], "127.0.0.1:5555", "ok"),
        (["172.20.0.3"], "[::1]:5555", "ok"),
        (["172.20.0.3"], "localhost:5555", "ok"),
        (["172.20.0.3"], "0.0.0.0:5555", "warning"),
        ([], "10.0.0.7:5555", "warning"),
        (["172.20.0.3"], "5555", "warning"),
        (["172.20.0.3"], "[::", "warning"),
    ],
)
def test_other_machines_reach_it(reachable: list[str], published_at: str, level: str) -> None:
    """An address is judged by its reach; a container's by where its host publishes the port."""
    assert judge_address(reachable, published_at).level == level

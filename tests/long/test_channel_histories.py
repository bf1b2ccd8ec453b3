"""Many histories of channels that get other ids: chains, circles, repetitions, in any order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.channel_moves import History, Step, steps
from tests.support.scale import scaled
from tests.support.servers import as_owner
from worker.db.pool import Pool, new_pool


@pytest.fixture
def owner_pool(database_url: str) -> Iterator[Pool]:
    """Open a pool as the owner, who may empty tables, which a worker may not."""
    with new_pool(as_owner(database_url), max_size=2) as pool:
        # As of the fixture ``pool``: Hypothesis refuses a connection that comes while it draws.
        pool.wait()
        yield pool


@given(history=st.lists(steps(), max_size=25))
@settings(
    max_examples=scaled(1_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_one_thread_is_one_session(owner_pool: Pool, history: list[Step]) -> None:
    """One thread is one session, in whatever order its commands and the channel's moves arrive."""
    story = History(owner_pool)
    story.clear()
    story.deliver(history)
    story.check()

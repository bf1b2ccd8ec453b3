"""Deaths, kills, full brokers and harmful messages once more, with the fast lane off.

The other modules run these tests with the settings that we ship, so over the lane.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_deaths import (
    test_what_kills_the_process_that_opens_it_is_a_dead_letter,
    test_what_was_prefetched_by_six_dead_workers_is_run,
)
from tests.integration.test_full_broker import broker, test_workers_drain_a_full_broker
from tests.integration.test_harmful_messages import (
    fed,
    test_messages_with_one_id_are_kept_apart,
    test_what_decides_must_be_readable,
    test_what_is_told_of_a_command_decides_nothing,
)
from tests.integration.test_worker_kills import test_a_killed_worker_group_loses_no_command
from tests.integration.test_worker_messages import (
    test_a_task_that_kills_its_process_is_stopped,
    test_a_task_that_recovers_is_no_poison,
)
from tests.long.test_frozen import (
    test_a_frozen_broker_loses_nothing,
    test_a_frozen_database_loses_nothing,
    test_no_worker_hangs_when_the_broker_stands_still_again_and_again,
)
from tests.long.test_refusing_broker import server, small_disk, test_a_full_disk_is_waited_for
from tests.support.installation import Installation

__all__ = (
    "broker",
    "fed",
    "server",
    "small_disk",
    "test_a_frozen_broker_loses_nothing",
    "test_a_frozen_database_loses_nothing",
    "test_a_full_disk_is_waited_for",
    "test_a_killed_worker_group_loses_no_command",
    "test_a_task_that_kills_its_process_is_stopped",
    "test_a_task_that_recovers_is_no_poison",
    "test_messages_with_one_id_are_kept_apart",
    "test_no_worker_hangs_when_the_broker_stands_still_again_and_again",
    "test_what_decides_must_be_readable",
    "test_what_is_told_of_a_command_decides_nothing",
    "test_what_kills_the_process_that_opens_it_is_a_dead_letter",
    "test_what_was_prefetched_by_six_dead_workers_is_run",
    "test_workers_drain_a_full_broker",
)


@pytest.fixture(scope="module", autouse=True)
def _lane_is_off_for_shared_workers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAST_LANE", "false")
        yield


@pytest.fixture(autouse=True)
def _lane_is_off(_own_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn it off again: each test begins without the settings of its shell."""
    monkeypatch.setenv("FAST_LANE", "false")


def test_the_lane_is_off(shared: Installation, installation: Installation) -> None:
    """Workers of these tests are started with the lane off, whichever fixture starts them."""
    assert shared.env["FAST_LANE"] == installation.env["FAST_LANE"] == "false"

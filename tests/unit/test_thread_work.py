"""What a comment is told of its files, and what is waited for while Slack gives no thread."""

from __future__ import annotations

from typing import get_args

import pytest

from worker.thread.decide import Impossible, NotYet
from worker.thread.files import NotCopied, SlackFile
from worker.thread.message import ThreadMessage, Transcript
from worker.thread.slack import SlackRefuses, SlackWaits
from worker.thread.sources import not_copied, reason_of, waits_for

FILES = tuple(SlackFile(f"F{number}", f"{number}.pdf") for number in range(1, 6))


def test_a_comment_names_each_file_that_is_not_copied() -> None:
    """Copied files have no reason; what failed, what waits, and what came after the chosen ones has one."""
    found = Transcript((ThreadMessage("1.1", "U1", "", FILES),))
    states = ["F1=copied", "F2=rejected", "F3=pending", "F4=too_big", "F9=gone"]
    assert not_copied(found, states) == {
        "F2": "refused",
        "F3": "pending",
        "F4": "too_big",
        "F5": "too_many",
    }


@pytest.mark.parametrize("given_up", [*get_args(NotCopied), "rejected", "unlinked", "of a later release"])
def test_each_end_of_a_file_has_a_reason(given_up: str) -> None:
    """Whatever ended a file's step, people are told a reason that has words."""
    assert reason_of(given_up) in get_args(NotCopied)


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (SlackWaits("away"), NotYet(None, is_failure=True)),
        (SlackWaits("rate limit", 40.0), NotYet(40.0, is_failure=False)),
        (SlackRefuses("thread_not_found"), Impossible("thread_gone")),
        (SlackRefuses("not_in_channel"), NotYet()),
        (SlackRefuses("token_revoked"), NotYet()),
        (SlackRefuses("missing_scope"), NotYet()),
    ],
)
def test_what_a_person_can_change_is_waited_for(exc: SlackWaits | SlackRefuses, expected: object) -> None:
    """A thread that is gone is given up; a missing invitation, scope or token is waited for."""
    assert waits_for(exc) == expected

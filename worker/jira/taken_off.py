"""Tickets that people took off a session, by key and id: a ticket that was moved keeps its id alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.jira.search import TakenOff
from worker.jira.setup import Setup

if TYPE_CHECKING:
    from threadsync.syncs import Claim


def taken_off(setup: Setup, claim: Claim) -> TakenOff:
    """Return those of the claim's session; asks Jira for an id that is not known. Raises ``CallFailed``."""
    ids = set(claim.left_ids)
    for key in claim.left_unknown:
        # By its former key Jira finds a ticket that was moved, too.
        if issue := setup.jira.get(key):
            setup.store.left.note_id(claim.session_id, key, issue.id)
            ids.add(issue.id)
    return TakenOff(frozenset(claim.left_keys), frozenset(ids))

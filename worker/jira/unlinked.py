"""Tickets that were unlinked from a session, by key and id: a ticket that was moved keeps its id alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.db.syncs.claim import Claim
from worker.jira.answers import JiraIssue
from worker.jira.setup import Setup


@dataclass(frozen=True, slots=True)
class Unlinked:
    """Unlinked tickets, which keep the session's marker, and which searches pass over."""

    keys: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def has(self, issue: JiraIssue) -> bool:
        return issue.key in self.keys or issue.id in self.ids


NONE: Final = Unlinked()


def unlinked_of(setup: Setup, claim: Claim) -> Unlinked:
    """Return the session's unlinked tickets; ask Jira for unknown ids. Raises ``CallFailed``."""
    ids = set(claim.unlinked_ids)
    for key in claim.unlinked_without_id:
        # By its former key Jira finds a ticket that was moved, too.
        if issue := setup.jira.get(key):
            setup.store.unlinked.note_id(claim.session_id, key, issue.id)
            ids.add(issue.id)
    return Unlinked(frozenset(claim.unlinked_keys), frozenset(ids))

"""Whether the account that looks would see the ticket of a create in doubt: not seeing is not absence.

An account sees what it sent itself. What another account sent, or what has another reporter, may be hidden
from it by the project's permissions or by issue security; then a search says "nothing" with status 200, and
a fetch leaves the key out. So absence counts only if the account has read a ticket of that kind in that
project: of the same sender, with a reporter where the create named one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.db.syncs.claim import Claim, Sender
from worker.jira.setup import Setup

_MOST_WITNESSES: Final = 3
"""Most tickets that are read of a kind: the newest may have been deleted."""


def to_be_shown(senders: Iterable[Sender], account: str) -> tuple[Sender, ...]:
    """Return the kinds of creates in doubt whose tickets ``account`` does not see for sure. Pure."""
    return tuple(sender for sender in senders if sender.account != account or sender.has_reporter)


def can_see(setup: Setup, claim: Claim) -> bool:
    """Return True if the account of ``setup`` sees tickets like those that are in doubt.

    Raises ``CallFailed`` when Jira cannot be asked.
    """
    project = claim.doubtful_project
    kinds = to_be_shown(claim.doubtful_senders, setup.jira.sender)
    return all(project is not None and _has_read_one(setup, claim.site, project, kind) for kind in kinds)


def _has_read_one(setup: Setup, site: str, project: str, kind: Sender) -> bool:
    tickets = setup.store.tickets_like(site, project, kind, _MOST_WITNESSES)
    seen = (setup.jira.get(ticket) for ticket in tickets)
    # One that was moved shows nothing of the project that it left.
    return any(issue is not None and issue.key.rpartition("-")[0] == project for issue in seen)

"""Say in a ticket who asked for it in Slack: in its entity property, and below its description.

No ticket waits for that longer than ``LOOKUP_SECONDS``: a name that Slack does not tell is the person's id.
"""

from __future__ import annotations

from typing import Final

from threadsync.actors import AnyActor, SlackActor
from worker.db.syncs.claim import Begun, Claim
from worker.jira.setup import Setup
from worker.text.person_name import person_name

_FORGOTTEN: Final = "forgotten"


def requester_of(actor: AnyActor | None) -> str | None:
    """Return the Slack id of the person who asked; None where no person did, or the person was forgotten."""
    if not isinstance(actor, SlackActor) or actor.user_id == _FORGOTTEN:
        return None
    return actor.user_id


def name_of_requester(setup: Setup, claim: Claim) -> str | None:
    """Ask for the name of the person who asked, if the ticket's description is to have it."""
    user_id = requester_of(claim.drafted_by)
    if user_id is None or claim.draft is None or not claim.draft.description.strip():
        return None
    return setup.name_of(user_id)


def ending_of(begun: Begun, claim: Claim, name: str | None) -> str:
    """Return the sentence below the description; empty where no person in Slack asked.

    Args:
        name: of who had asked at the claim; a draft that came in the last moment may be another person's.
    """
    user_id = requester_of(begun.drafted_by)
    if user_id is None:
        return ""
    known = name if begun.drafted_by == claim.drafted_by else None
    return f"Requested in Slack by {person_name(known, user_id)}."

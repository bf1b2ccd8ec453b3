"""Sentences of the form, for the people who fill it in."""

from __future__ import annotations

from typing import Final

from threadsync.forms import LookupOutcome

NO_ACCOUNT: Final = (
    "I found no account in Jira for this person: by the e-mail address in Slack there is none, or more than "
    "one, or Slack does not tell me the address. Choose someone else, or leave this empty."
)
NOT_YOURS: Final = (
    "Only the person who wrote the draft sees it, so this form starts empty. "
    "What you send replaces the draft."
)
DRAFT_NOT_READ: Final = (
    "I could not read your draft in time, so this form starts empty. Close it and press the button again to "
    "see the draft."
)
NO_PROJECT: Final = "Please choose the project first: the fields follow from it."
NO_SUCH_PROJECT: Final = (
    "Jira has no project {project}, or I may not create tickets in it. Please choose another one."
)
NO_FIELDS: Final = (
    "Jira did not say in time which fields a ticket has, so this asks for the essentials. If Jira wants "
    "more, the status message in the thread will say so."
)
NOT_ALLOWED: Final = (
    "Jira does not let me look up which fields a ticket has, so this asks for the essentials. My operators "
    "can find the reason with: threadsync doctor"
)
NOT_CONFIGURED: Final = (
    "My workers are not connected to Jira yet, so this asks for the essentials. My operators can find the "
    "reason with: threadsync doctor"
)


def on_fields(outcome: LookupOutcome | None, project_key: str | None) -> str:
    """Return the sentence for fields that are not known; None stands for no answer in time."""
    if outcome == "no_such_project":
        return NO_SUCH_PROJECT.format(project=project_key) if project_key else NO_PROJECT
    match outcome:
        case "refused":
            return NOT_ALLOWED
        case "not_configured":
            return NOT_CONFIGURED
        case _:
            return NO_FIELDS

"""Words in which an attempt records its outcome. Pure."""

from __future__ import annotations

from typing import assert_never

from worker.http_once import NotSent, Unknown
from worker.jira.answers import AuthProblem, Created, Rejected, Throttled
from worker.jira.decide import Absent, Found, Next, Outcome, Several, Unread


def ticket_of(outcome: Outcome | None) -> tuple[str, str] | None:
    """Return id and key of the ticket in the outcome, if it has one."""
    match outcome:
        case Created():
            return outcome.issue_id, outcome.key
        case Found():
            return outcome.issue.id, outcome.issue.key
        case _:
            return None


def name_of(outcome: Outcome) -> str:
    """Return the outcome's name in ``sync_attempts``."""
    match outcome:
        case Created():
            return "created"
        case Found():
            return "found"
        case Several():
            return "several"
        case Absent():
            return "absent"
        case Unread():
            return "unclear"
        case Rejected():
            return "rejected"
        case Throttled():
            return "throttled"
        case AuthProblem():
            return "auth"
        case NotSent():
            return "not_sent"
        case Unknown():
            return "unknown"
        case _:
            assert_never(outcome)


def detail_of(outcome: Outcome | None) -> str | None:
    """Return the outcome's detail: Jira's words, or ours where it sent none."""
    match outcome:
        case Several():
            return ", ".join(outcome.keys)
        case Unread():
            return _words(outcome.answer.answer)
        case Rejected() | AuthProblem() | Throttled() | NotSent() | Unknown():
            return _words(outcome)
        case _:
            return None


def _words(answer: Rejected | AuthProblem | Throttled | NotSent | Unknown) -> str:
    # A line for each, by which worker.jira.refusal finds the field that it is about.
    return "\n".join(" ".join(text.split()) for text in getattr(answer, "messages", ())) or answer.why


def end_of_doubt(outcome: Outcome | None, following: Next) -> str | None:
    """Return the end of the creates in doubt: ``found`` or ``absent``; None while that is open.

    It stays open where the account cannot see: a retry looks again, and creates nothing.
    """
    if isinstance(outcome, Found):
        return "found"
    if following.reason == "cannot_see":
        return None
    if isinstance(outcome, Absent) and following.state in ("pending", "review"):
        return "absent"
    return None

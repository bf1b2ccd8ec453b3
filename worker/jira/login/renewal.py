"""Repeat a request with another access token, where the one before had ended.

Only questions, and what may be repeated, such as a link with an id of ours. What creates something is decided
on by `worker.jira.decide`, with a search before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from worker.jira.answers import AuthProblem, CallFailed

T = TypeVar("T")


def renewed_once(ask: Callable[[], T]) -> T:
    """Return what a request that may be repeated returns; ask a second time if Jira refused the token.

    Raises `CallFailed`.
    """
    try:
        return ask()
    except CallFailed as exc:
        if not isinstance(exc.answer, AuthProblem) or not exc.answer.is_renewed:
            raise
    return ask()

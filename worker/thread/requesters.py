"""Names and Jira accounts of the people who ask for tickets, kept so that a sync that waits asks once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker.jira.setup import Setup
from worker.status_message.answers import Answer, Done, Refused
from worker.thread.accounts import account_in
from worker.thread.kept import Kept
from worker.thread.lookup import name_in
from worker.thread.slack import Calls

SILENT_SECONDS: Final = 5.0
"""Time for which Slack is not asked for a person again when it gave no response: one step waits once."""


class Requesters:
    """What Slack and Jira tell of people. What they refuse is kept too; what they did not answer is not.

    Args:
        slack: with a limit of ``LOOKUP_SECONDS`` for each call; None where no Slack is configured.
        monotonic: seconds, as this process measures them.
    """

    def __init__(
        self, setup: Setup, slack: Calls | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._setup = setup
        self._slack = slack
        self._accounts: Kept[str | None] = Kept(monotonic)
        self._names: Kept[str | None] = Kept(monotonic)
        self._silent: Kept[None] = Kept(monotonic, SILENT_SECONDS)

    def account_of(self, user_id: str) -> str | None:
        """Return the person's one account; None where there is none, or it cannot be found out now."""
        if kept := self._accounts.get(user_id):
            return kept.answer
        answer = self._asked(user_id)
        if answer is None:
            return None
        found = account_in(self._setup, answer)
        if found.outcome in ("known", "unknown"):
            self._accounts.put(user_id, found.account)
        return found.account

    def name_of(self, user_id: str) -> str | None:
        """Return the person's name in Slack; None where Slack tells none, or none now."""
        if not self._names.get(user_id):
            self._asked(user_id)
        kept = self._names.get(user_id)
        return kept.answer if kept else None

    def _asked(self, user_id: str) -> Answer | None:
        if self._slack is None or self._silent.get(user_id):
            return None
        answer = self._slack.call("users.info", user=user_id)
        if isinstance(answer, Done):
            self._names.put(user_id, name_in(answer.body))
        elif isinstance(answer, Refused):
            self._names.put(user_id, None)
        else:
            self._silent.put(user_id, None)
        return answer

"""A Jira without HTTP: tickets, configuration, faults. No I/O.

site = JiraSite(clock=VirtualClock(), search_lag=5)
site.fail("create", CommitThenDrop())      # the next create meets it
site.issues_with(marker)                   # the thread's tickets, indexed or not
site.logins.scoped_only = True             # from now on only the gateway serves
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sandbox.jira.accounts import BOT_ID, Account, first_accounts
from sandbox.jira.faults import Fault, FaultBook, Plan
from sandbox.jira.fields import ScreenField, first_screen
from sandbox.jira.follow_ups import FollowUps
from sandbox.jira.issues import Issue
from sandbox.jira.logins import first_logins, put_tokens
from sandbox.jira.projects import IssueType, Project

__all__ = ["Call", "JiraSite", "ScreenField"]


class Call(NamedTuple):
    """A request, and the time of its arrival on the site's clock. ``action`` is what it does."""

    endpoint: str
    at: float
    action: str = ""


class JiraSite(FollowUps):
    """A Jira site, safe for threads. The same calls at the same times give the same responses.

    Args:
        projects: keys of the projects; ``skip_keys`` acts on the first one by default.
        clock: the time in seconds; a ``VirtualClock`` in tests.
        search_lag: seconds until the search sees a change.
        context_path: path below which a Data Center is served, such as ``/jira``.

    All but the projects may be changed at any time, and so may these:

    - ``is_down``
    - ``issue_types`` (id by name) and ``screen`` (fields of the create screen by id), for projects without
      types of their own
    - ``set_up``: what a project has of its own, by key
    - ``accounts`` and ``logins``
    - ``cloud_id``: the site's id at the gateway
    - ``url``: the address that people click, which the gateway tells; "" if it is not known
    - ``upload_limit``: the largest file that may be attached, in bytes
    - ``scoped_after``: the number of tickets from which on ``logins.scoped_only`` holds; None for none
    """

    def __init__(
        self,
        projects: Sequence[str] = ("PROJ",),
        clock: Callable[[], float] = time.time,
        search_lag: float = 0.0,
        email: str = "bot@example.com",
        token: str = "sandbox",  # noqa: S107 - nobody's
        context_path: str = "",
    ) -> None:
        super().__init__(projects, clock, search_lag)
        self.accounts = first_accounts(email)
        self.logins = first_logins(clock, email, token)
        self.context_path = context_path
        self.cloud_id = "7a1c52d0-5b0e-4c5b-9a55-000000005b0c"
        self.url = ""
        self.upload_limit = 20_000_000
        self.scoped_after: int | None = None
        self.is_down = False
        self.issue_types = {"Task": "10001", "Bug": "10002"}
        self.screen = first_screen()
        self.set_up: dict[str, Project] = {}
        self.calls: list[Call] = []
        self._email = email
        self._token = token
        self._faults = FaultBook()

    @property
    def email(self) -> str:
        """The address of the bot's account; a new one holds for its classic token at once."""
        return self._email

    @email.setter
    def email(self, email: str) -> None:
        self.accounts.put(replace(self.bot, email=email))
        self._email = email
        put_tokens(self.logins, email, self._token)

    @property
    def token(self) -> str:
        """The bot's token at the site; a new one ends the old one."""
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        self.logins.revoke(self._token)
        self._token = token
        put_tokens(self.logins, self._email, token)

    @property
    def bot(self) -> Account:
        """The account of the bot's tokens."""
        account = self.accounts.find(BOT_ID)
        assert account is not None  # noqa: S101 - no account is ever removed
        return account

    @property
    def plan(self) -> Plan | None:
        """The plan that chooses the faults of calls for which ``fail`` has left none."""
        return self._faults.plan

    @plan.setter
    def plan(self, plan: Plan | None) -> None:
        self._faults.plan = plan

    @property
    def met(self) -> Counter[str]:
        """The number of faults met, by the name of their class."""
        return self._faults.met

    def fail(self, endpoint: str, *faults: Fault) -> None:
        """Spoil the next calls of ``endpoint`` with these faults, one each.

        ``comment`` is any call about comments, ``comment.add`` one that adds one; both lists are in
        `sandbox.jira.faults`. Raises ``ValueError`` for another name.
        """
        self._faults.add(endpoint, *faults)

    def forget_faults(self, endpoint: str) -> None:
        """Drop the faults that wait for a call of ``endpoint``; keep the plan."""
        self._faults.forget(endpoint)

    def meet(self, action: str, body: Any) -> Fault | None:
        """Record a call, and return its fault, or None."""
        self.calls.append(Call(action.partition(".")[0], self.clock(), action))
        return self._faults.take(action, body)

    def add_project(self, key: str, set_up: Project | None = None) -> None:
        """Add a project, or give one another set-up."""
        self.projects.setdefault(key, str(10_000 + len(self.projects)))
        self.set_up[key] = set_up or Project()

    def project(self, key: str) -> Project:
        """Return what a project has of its own."""
        return self.set_up.get(key) or Project()

    def configure(self, key: str, **members: Any) -> None:
        """Change members of a project's set-up, such as ``reporter_settable=False``."""
        self.set_up[key] = replace(self.project(key), **members)

    def types_of(self, key: str) -> tuple[IssueType, ...]:
        """Return the issue types of a project, its own or those of the site."""
        own = self.project(key).types
        if own is not None:
            return own
        return tuple(IssueType(identity, name, self.screen) for name, identity in self.issue_types.items())

    def sees(self, account: Account, issue: Issue) -> bool:
        """Return True if the account may see the ticket."""
        return self.project(issue.project).shows(issue.level, account.id, issue.reporter)

    def serves_site(self) -> bool:
        """Return True unless only the gateway serves; ``scoped_after`` is looked at here."""
        if self.scoped_after is not None and len(self.issues) >= self.scoped_after:
            self.logins.scoped_only = True
        return not self.logins.scoped_only

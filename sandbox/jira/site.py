"""A Jira without HTTP: tickets, configuration, faults. No I/O.

site = JiraSite(clock=VirtualClock(), search_lag=5)
site.fail("create", CommitThenDrop())      # the next create meets it
site.issues_with(marker)                   # the thread's tickets, indexed or not
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sandbox.jira.faults import Fault, FaultBook, Plan
from sandbox.jira.store import IssueStore


class Call(NamedTuple):
    """A request, and the time of its arrival on the site's clock."""

    endpoint: str
    at: float


@dataclass(frozen=True)
class ScreenField:
    """A field of the create screen; ``type`` as Jira's schema names it."""

    name: str
    type: str = "string"
    required: bool = False
    has_default: bool = False


class JiraSite(IssueStore):
    """A Jira site, safe for threads. The same calls at the same times give the same responses.

    Args:
        projects: keys of the projects; ``skip_keys`` acts on the first one by default.
        clock: the time in seconds; a ``VirtualClock`` in tests.
        search_lag: seconds until the search sees a change.

    All but the projects may be changed at any time, and so may ``is_down``, ``issue_types`` (id by name) and
    ``screen`` (the fields of the create screen, by id).
    """

    def __init__(
        self,
        projects: Sequence[str] = ("PROJ",),
        clock: Callable[[], float] = time.time,
        search_lag: float = 0.0,
        email: str = "bot@example.com",
        token: str = "sandbox",  # noqa: S107 - nobody's
    ) -> None:
        super().__init__(projects, clock, search_lag)
        self.email = email
        self.token = token
        self.is_down = False
        self.issue_types = {"Task": "10001", "Bug": "10002"}
        self.screen = {
            "project": ScreenField("Project", "project", required=True),
            "issuetype": ScreenField("Issue Type", "issuetype", required=True),
            "summary": ScreenField("Summary", required=True),
            "description": ScreenField("Description"),
            "labels": ScreenField("Labels", "array"),
            "reporter": ScreenField("Reporter", "user", required=True, has_default=True),
        }
        self.calls: list[Call] = []
        self._faults = FaultBook()

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

        Endpoints: create, search, bulkfetch, get, myself, createmeta, remotelink, serverinfo.
        Raises ``ValueError`` for another one.
        """
        self._faults.add(endpoint, *faults)

    def forget_faults(self, endpoint: str) -> None:
        """Drop the faults that wait for a call of ``endpoint``; keep the plan."""
        self._faults.forget(endpoint)

    def meet(self, endpoint: str, body: Any) -> Fault | None:
        """Record a call, and return its fault, or None."""
        self.calls.append(Call(endpoint, self.clock()))
        return self._faults.take(endpoint, body)

    def admits(self, authorization: str) -> bool:
        """Return True if the header authenticates: Basic with e-mail and token, or Bearer with the token."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return given == self.token
        try:
            return scheme.lower() == "basic" and base64.b64decode(given, validate=True).decode() == (
                f"{self.email}:{self.token}"
            )
        except (binascii.Error, UnicodeDecodeError):
            return False

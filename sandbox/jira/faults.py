"""Faults for the sandbox Jira, set by a test or the demo; one fault spoils one call.

    what the client sees     ticket made at once     ticket made later   no ticket
    connection ends          CommitThenDrop          CommitLate          DropBeforeCommit
    5xx                      CommitThenStatus        CommitLate          Status
    no response              Hang(committed=True)    CommitLate          Hang(committed=False)
    half a response, HTML    Truncated, NotJson
    a response, late or not  Slow, StripLabel
    a refusal                                                            Throttle, Refuse,
                                                                         HtmlRefusal, Redirect

The faults work on every endpoint, also on the token server and ``_edge/tenant_info``. A request that Jira
would refuse has no effect under a fault either. Read "ticket" as comment, attachment, link or property where
a call makes one of these.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ACTIONS: Final = frozenset(
    (
        "create",
        "get",
        "search",
        "bulkfetch",
        "myself",
        "serverinfo",
        "priority",
        "permissions",
        "createmeta.types",
        "createmeta.fields",
        "project.search",
        "project.list",
        "project.get",
        "user.search",
        "user.assignable",
        "user.get",
        "group.search",
        "comment.add",
        "comment.list",
        "comment.get",
        "property.put",
        "property.get",
        "property.remove",
        "attachment.add",
        "attachment.get",
        "attachment.content",
        "attachment.meta",
        "remotelink.put",
        "remotelink.get",
        "remotelink.remove",
        "tenant",
        "token",
    )
)
"""What a call does. Before the dot stands its endpoint, which is one kind of thing."""
ENDPOINTS: Final = frozenset(action.partition(".")[0] for action in ACTIONS)
BURST: Final = "jira-burst-based"
ISSUE_WRITES: Final = "jira-per-issue-on-write"
GLOBAL_QUOTA: Final = "jira-quota-global-based"
TENANT_QUOTA: Final = "jira-quota-tenant-based"


@dataclass(frozen=True)
class CommitThenDrop:
    """Connection that ends without a response; the call has its effect."""


@dataclass(frozen=True)
class DropBeforeCommit:
    """Connection that ends without a response; the call has no effect."""


@dataclass(frozen=True)
class CommitThenStatus:
    """Response with an error status; the call has its effect."""

    status: int = 503


@dataclass(frozen=True)
class Status:
    """Response with an error status; the call has no effect."""

    status: int = 503


@dataclass(frozen=True)
class CommitLate:
    """Response that fails at once, while the call has its effect ``seconds`` later on the site's clock.

    That goes for whatever changes something in Jira: ticket, comment, attachment, remote link, property.
    """

    seconds: float
    then: Literal["drop", "status", "hang"] = "drop"


@dataclass(frozen=True)
class Hang:
    """Connection that ends after ``seconds`` without a response."""

    seconds: float
    committed: bool


@dataclass(frozen=True)
class Slow:
    """Response that takes ``seconds`` longer; the call has its effect at once."""

    seconds: float


@dataclass(frozen=True)
class Throttle:
    """Status 429 with the headers of one rate limit; the call has no effect.

    Args:
        retry_after: seconds; None leaves out every header that tells a time.
        reason: ``RateLimit-Reason``; a Data Center (``/rest/api/2``) has none.
    """

    retry_after: float | None = 5.0
    reason: str = BURST


@dataclass(frozen=True)
class Refuse:
    """Jira's own refusal, as JSON; the call has no effect."""

    status: int = 400
    messages: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HtmlRefusal:
    """HTML page of a firewall or proxy before Jira; the call has no effect."""

    status: int = 403


@dataclass(frozen=True)
class Redirect:
    """Status 302, as single sign-on redirects; the call has no effect."""

    location: str = "/login.jsp"


@dataclass(frozen=True)
class Truncated:
    """Connection that ends in the middle of the response; the call has its effect."""


@dataclass(frozen=True)
class NotJson:
    """Response with the right status and an HTML page as its body; the call has its effect."""


@dataclass(frozen=True)
class StripLabel:
    """Ticket made without labels, as an automation rule leaves it; the response is as usual."""


Fault = (
    CommitThenDrop
    | DropBeforeCommit
    | CommitThenStatus
    | Status
    | CommitLate
    | Hang
    | Slow
    | Throttle
    | Refuse
    | HtmlRefusal
    | Redirect
    | Truncated
    | NotJson
    | StripLabel
)

Plan = Callable[[str, Any], Fault | None]
"""Function from a call's endpoint and body to its fault, or None. A call that only reads has the body {}."""


class FaultBook:
    """Queues of faults by action or endpoint, first in, first out; after them the plan. Safe for threads."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.met: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)

    def add(self, endpoint: str, *faults: Fault) -> None:
        """Spoil the next calls of an action or endpoint. Raises ``ValueError`` for an unknown one."""
        if endpoint not in ENDPOINTS | ACTIONS:
            raise ValueError(f"no such endpoint: {endpoint}")
        with self._lock:
            self._waiting[endpoint].extend(faults)

    def forget(self, endpoint: str) -> None:
        """Drop the faults that wait for a call of this action or endpoint."""
        with self._lock:
            self._waiting[endpoint].clear()

    def take(self, action: str, body: Any) -> Fault | None:
        """Remove and return the fault of this call, or None; count it as met."""
        endpoint = action.partition(".")[0]
        with self._lock:
            waiting = self._waiting[action] or self._waiting[endpoint]
            fault = waiting.popleft() if waiting else self.plan and self.plan(endpoint, body)
            if fault is not None:
                self.met[type(fault).__name__] += 1
            return fault


class RandomFaults:
    """Plan that gives each fault its share (0 to 1) of the calls; the same seed repeats it.

    Raises ``ValueError`` if the shares add up to more than 1.
    """

    def __init__(
        self, shares: Sequence[tuple[Fault, float]], seed: int = 0, endpoints: Collection[str] = ("create",)
    ) -> None:
        if sum(share for _, share in shares) > 1:
            raise ValueError("the shares of the faults add up to more than 1")
        self._shares = tuple(shares)
        self._endpoints = frozenset(endpoints)
        self._random = random.Random(seed)  # noqa: S311 - not for secrets

    def __call__(self, endpoint: str, body: Any) -> Fault | None:
        if endpoint not in self._endpoints:
            return None
        left = self._random.random()
        for fault, share in self._shares:
            left -= share
            if left < 0:
                return fault
        return None

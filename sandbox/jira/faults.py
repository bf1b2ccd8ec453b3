"""Faults that the sandbox Jira can be told to have; one fault spoils one call.

    what the client sees     ticket made at once     ticket made later   no ticket
    connection ends          CommitThenDrop          CommitLate          DropBeforeCommit
    5xx                      CommitThenStatus        CommitLate          Status
    no answer                Hang(committed=True)    CommitLate          Hang(committed=False)
    half an answer, HTML     Truncated, NotJson
    an answer, late or not   Slow, StripLabel
    a clear no                                                           Throttle, Refuse,
                                                                         HtmlRefusal, Redirect

They work on every endpoint. What Jira would refuse is not done under a fault either.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ENDPOINTS: Final = frozenset(
    (
        "create",
        "search",
        "bulkfetch",
        "get",
        "myself",
        "createmeta",
        "remotelink",
        "comment",
        "serverinfo",
    )
)
BURST: Final = "jira-burst-based"
ISSUE_WRITES: Final = "jira-per-issue-on-write"
GLOBAL_QUOTA: Final = "jira-quota-global-based"
TENANT_QUOTA: Final = "jira-quota-tenant-based"


@dataclass(frozen=True)
class CommitThenDrop:
    """The connection ends without an answer; what was asked is done."""


@dataclass(frozen=True)
class DropBeforeCommit:
    """The connection ends without an answer; nothing is done."""


@dataclass(frozen=True)
class CommitThenStatus:
    """Done, and answered with an error."""

    status: int = 503


@dataclass(frozen=True)
class Status:
    """Answered with an error; nothing is done."""

    status: int = 503


@dataclass(frozen=True)
class CommitLate:
    """The answer goes wrong at once; the ticket is made ``seconds`` later on the site's clock.

    A comment too is made that late; other calls come to nothing.
    """

    seconds: float
    then: Literal["drop", "status", "hang"] = "drop"


@dataclass(frozen=True)
class Hang:
    """No answer for ``seconds``, then the connection ends."""

    seconds: float
    committed: bool


@dataclass(frozen=True)
class Slow:
    """Done at once; the answer takes ``seconds`` longer."""

    seconds: float


@dataclass(frozen=True)
class Throttle:
    """Status 429 with the headers of that limit; nothing is done.

    Args:
        retry_after: seconds; None leaves out every header that tells a time.
        reason: ``RateLimit-Reason``; a Data Center (``/rest/api/2``) has none.
    """

    retry_after: float | None = 5.0
    reason: str = BURST


@dataclass(frozen=True)
class Refuse:
    """Jira's own refusal, as JSON; nothing is done."""

    status: int = 400
    messages: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HtmlRefusal:
    """A page of what stands before Jira, such as a firewall; nothing is done."""

    status: int = 403


@dataclass(frozen=True)
class Redirect:
    """Status 302, as single sign-on does it; nothing is done."""

    location: str = "/login.jsp"


@dataclass(frozen=True)
class Truncated:
    """Done; the connection ends in the middle of the answer."""


@dataclass(frozen=True)
class NotJson:
    """Done, and answered with the right status and a page in HTML."""


@dataclass(frozen=True)
class StripLabel:
    """A ticket without labels, as an automation rule leaves it; the answer is as ever."""


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
"""Endpoint and body of a call; the fault that it meets."""


class FaultBook:
    """Faults waiting for their call, first in, first out; then the plan. Safe for threads."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.met: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)

    def add(self, endpoint: str, *faults: Fault) -> None:
        """The next calls of ``endpoint`` meet these faults. Raises ``ValueError`` if there is no such."""
        if endpoint not in ENDPOINTS:
            raise ValueError(f"no such endpoint: {endpoint}")
        with self._lock:
            self._waiting[endpoint].extend(faults)

    def forget(self, endpoint: str) -> None:
        """Drop the faults that still wait for a call of ``endpoint``."""
        with self._lock:
            self._waiting[endpoint].clear()

    def take(self, endpoint: str, body: Any) -> Fault | None:
        """The fault of this call, if there is one."""
        with self._lock:
            waiting = self._waiting[endpoint]
            fault = waiting.popleft() if waiting else self.plan and self.plan(endpoint, body)
            if fault is not None:
                self.met[type(fault).__name__] += 1
            return fault


class RandomFaults:
    """A plan: each fault meets its share (0 to 1) of the calls. The same seed does the same.

    Raises ``ValueError`` if the shares are more than one in all.
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

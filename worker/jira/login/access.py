"""Interface of the logins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Access:
    """Address of a Jira before ``/rest``, without a slash at its end, and the header ``Authorization``."""

    address: str
    authorization: bytes = field(repr=False)


class Login(Protocol):
    """A way to log in. Safe for threads."""

    def access(self) -> Access:
        """Return the access for the next request; asks site or token server if it must.

        Raises `CallFailed`: ``NotSent`` while one of them does not respond, as for a Jira that is away;
        ``AuthProblem`` where the token server refuses the client; ``Throttled``.
        """
        ...

    def access_at_hand(self) -> Access | None:
        """Return the access if nobody must be asked for it: a create that is committed to waits for none."""
        ...

    def refused(self, access: Access) -> bool:
        """Take note that Jira answered 401; return True if the next access has another token."""
        ...

    def close(self) -> None:
        """Close connections. May be repeated."""
        ...

"""A call of an endpoint of the sandbox Jira, and a route to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.jira.accounts import Account
from sandbox.jira.answers import Answers
from sandbox.jira.faults import CommitLate, Fault
from sandbox.jira.issues import Issue, Upload
from sandbox.jira.replies import Reply
from sandbox.jira.site import JiraSite
from sandbox.jira.validation import INVALID_PAYLOAD, Refusal

KEY: Final = r"(?P<key>[^/]+)"
NUMBER: Final = re.compile("[0-9]{1,9}")
NO_ISSUE: Final = "Issue does not exist or you do not have permission to see it."


@dataclass(frozen=True)
class Asked:
    """A call of an endpoint.

    Args:
        named: the parts of the path.
        body: the request's JSON; {} without one.
        uploads: the files of a multipart request; None if it is none.
        account: the one that the login belongs to.
    """

    site: JiraSite
    version: str
    named: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    uploads: Sequence[Upload] | None
    fault: Fault | None
    answers: Answers
    account: Account

    @property
    def is_cloud(self) -> bool:
        """Return True for API version 3; version 2 stands for a Data Center here."""
        return self.version == "3"

    @property
    def later(self) -> float:
        """The seconds after which a change takes effect: 0 without a late commit."""
        return self.fault.seconds if isinstance(self.fault, CommitLate) else 0.0

    def issue(self) -> Issue:
        """Return the ticket that the path names. Raises ``Refusal`` if the account sees none."""
        issue = self.site.find(self.named["key"])
        if issue is None or not self.site.sees(self.account, issue):
            raise Refusal(NO_ISSUE, status=404)
        return issue

    def value(self, name: str, kind: type[Any], default: Any) -> Any:
        """Return a value of the body. Raises ``Refusal`` if it is not of that kind."""
        value = self.body.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Refusal(INVALID_PAYLOAD)
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of strings in the body. Raises ``Refusal`` if it is anything else."""
        values: list[str] = self.value(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise Refusal(INVALID_PAYLOAD)
        return values

    def only(self, *names: str) -> None:
        """Raise ``Refusal`` if the body has members besides these."""
        if not isinstance(self.body, dict) or set(self.body) - set(names):
            raise Refusal(INVALID_PAYLOAD)

    def number(self, name: str, default: int) -> int:
        """Return a number of the query that is not negative. Raises ``Refusal`` if it is none."""
        given = self.query.get(name)
        if given is None:
            return default
        if not NUMBER.fullmatch(given):
            raise Refusal(f"The value of '{name}' is not a number that is at least 0.")
        return int(given)

    def page(self, most: int, usual: int = 50) -> tuple[int, int]:
        """Return where a page begins and how many items it has, as the query says, of at most ``most``."""
        return self.number("startAt", 0), min(self.number("maxResults", usual), most)


@dataclass(frozen=True)
class Route:
    """An endpoint.

    Args:
        path: pattern of the path after ``/rest/api/{version}/``, or of the whole path where there is none.
        action: name in `sandbox.jira.faults.ACTIONS`.
        versions: of the API.
        files: True if it takes a multipart request.
    """

    method: str
    path: re.Pattern[str]
    action: str
    answer: Callable[[Asked], Reply]
    versions: str = "23"
    files: bool = False


def listed(value: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name for name in value.split(",") if name]

"""Outcomes of a call to Jira, as `worker.jira.classification` derives them from responses.

``why`` is for people and logs: it never quotes the draft, the token or the e-mail address. ``messages`` are
Jira's own and may quote the draft, so no ``repr`` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from threadsync.jira_login import GATEWAY, TOKEN_URL
from worker.http_once import NotSent, Unknown

Deployment = Literal["cloud", "datacenter"]
About = Literal["draft", "set_up", "place", "access", "reporter"]
"""Fault behind a refusal: draft, create screen, place (project, issue type or address), permission, or the
reporter alone."""

LONGEST_ASKED_SECONDS: Final = 3_600.0
"""The longest pause that is granted to a Jira that asks for one.

Its longest limit is counted by the hour (https://developer.atlassian.com/cloud/jira/platform/rate-limiting/),
so what asks for more has another clock or another unit. If it means it, it is asked once an hour.
"""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client of OAuth 2 client credentials, and the address of its token server."""

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str = TOKEN_URL


@dataclass(frozen=True, slots=True)
class JiraAccount:
    """A Jira site and the account that is used there.

    Args:
        url: the site's address, with the context path of a Data Center if it has one.
        email: with it the token is a password (Cloud), without it a personal access token.
        token: empty where ``oauth`` is given.
        timeout: seconds that one call may take in all.
        cloud_id: of a scoped token or OAuth, whose requests go to the gateway; ``auto`` asks the site.
        oauth: client credentials, in place of e-mail and token.
    """

    url: str
    email: str | None = field(repr=False)
    token: str = field(repr=False)
    deployment: Deployment = "cloud"
    timeout: float = 10.0
    cloud_id: str | None = None
    gateway: str = GATEWAY
    oauth: OAuthClient | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """Outcome of a create: the ticket exists."""

    issue_id: str
    key: str
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refusal that the same request would meet again. ``about``: what must be fixed first."""

    status: int
    why: str
    messages: tuple[str, ...] = field(default=(), repr=False)
    trace_id: str | None = None
    about: About = "draft"


@dataclass(frozen=True, slots=True)
class Throttled:
    """Refusal of a call, as there were too many requests.

    Args:
        retry_after: seconds to wait at least, where Jira names them; never more than an hour.
        reason: which limit it was (``RateLimit-Reason``), such as ``jira-burst-based``.
    """

    retry_after: float | None
    reason: str | None
    why: str
    status: int = 429
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuthProblem:
    """Refusal of a call by its credentials, or for lack of a permission.

    Args:
        is_page: a web page came with a status of success, as single sign-on or a proxy sends it.
        is_of_scope: the token lacks a scope that this request needs. The account is known all the same.
        is_renewed: the token was dropped, and the next request has another one, which may mend it.
    """

    status: int
    why: str
    messages: tuple[str, ...] = field(default=(), repr=False)
    trace_id: str | None = None
    is_page: bool = False
    is_of_scope: bool = False
    is_renewed: bool = False


Failure = Rejected | Throttled | AuthProblem | NotSent | Unknown
CreateAnswer = Created | Failure


@dataclass(frozen=True, slots=True)
class JiraIssue:
    """The parts of a ticket that are read. ``marker`` is the one in its entity property."""

    id: str
    key: str
    labels: tuple[str, ...] = ()
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class IssueType:
    """An issue type that a project has."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CreateField:
    """A field of a project's create screen."""

    id: str
    name: str
    required: bool
    has_default: bool


class CallFailed(Exception):
    """Failure of a call that only reads, or may be repeated; ``answer`` is its outcome.

    ``request`` names the endpoint, as `worker.jira.client` labels it; empty where none is to blame.
    """

    def __init__(self, answer: Failure, request: str = "") -> None:
        super().__init__(answer.why)
        self.answer = answer
        self.request = request

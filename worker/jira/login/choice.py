"""Choose the login of an account, and name the account."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import monotonic
from typing import Final

import httpx

from threadsync.jira_login import AUTO
from worker.jira.answers import JiraAccount
from worker.jira.login.access import Login
from worker.jira.login.client_credentials import ClientCredentials
from worker.jira.login.cloud_id import CloudId
from worker.jira.login.tokens import ClassicToken, DataCenterToken, ScopedToken

_DIGITS: Final = 16


def choose(
    account: JiraAccount,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = monotonic,
) -> Login:
    """Return the login of the account; it sends nothing yet."""
    site = account.url.strip().rstrip("/")

    def cloud_id() -> CloudId:
        return CloudId(site, account.gateway, account.cloud_id or AUTO, account.timeout, transport)

    if account.oauth:
        return ClientCredentials(cloud_id(), account.oauth, account.timeout, transport, clock)
    if not account.email:
        return DataCenterToken(site, account.token)
    if account.cloud_id:
        return ScopedToken(cloud_id(), account.email, account.token)
    return ClassicToken(site, account.email, account.token)


def sender_of(account: JiraAccount) -> str:
    """Return a name of the account for the attempts that it sends: the same after a change of its token.

    A hash, because an e-mail address is a person's. Where there is only a token (Data Center) another token
    counts as another account, for nothing else tells them apart.
    """
    if account.oauth:
        kind, identity = "oauth", account.oauth.client_id
    elif account.email:
        kind, identity = "email", account.email.strip().casefold()
    else:
        kind, identity = "token", account.token
    digest = hashlib.sha256(f"threadsync|jira account|{kind}|{identity}".encode()).hexdigest()
    return f"{kind}:{digest[:_DIGITS]}"


def questions_of(account: JiraAccount) -> int:
    """Return how many calls more a step may take because of its login, each within the account's timeout.

    One asks for the cloud id, one for a token; after one that was refused a question is asked again.
    """
    asks_for_id = account.cloud_id == AUTO or (account.oauth is not None and account.cloud_id is None)
    return int(asks_for_id) + (2 if account.oauth else 0)

"""Connection to a Jira under a login: each request to the login's address, with its header."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import httpx

from worker.http_once import HttpOnce, HttpResponse, NotSent, Unknown
from worker.jira.answers import AuthProblem, JiraAccount
from worker.jira.login.access import Access
from worker.jira.login.choice import choose
from worker.jira.login.client_credentials import ClientCredentials

MOST_BYTES: Final = 16_000_000
"""Limit of a response; the largest is a page of a create screen with all its options."""

NO_LOGIN: Final = NotSent("the login to Jira ended before it could be sent")
"""Outcome of a request that creates something, and for which no token is at hand."""


class JiraConnection:
    """Connection to one Jira, safe for threads.

    Args:
        transport: for tests, in place of sockets; of site, gateway and token server alike.
        clock: monotonic time in seconds, by which tokens end.
    """

    def __init__(
        self,
        account: JiraAccount,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._version = 3 if account.deployment == "cloud" else 2
        self._timeout = account.timeout
        self._transport = transport
        self._login = choose(account, transport, clock)
        self._lock = threading.Lock()
        self._http: dict[str, HttpOnce] = {}

    def access(self, *, is_committed: bool) -> Access | None:
        """Return the access for a request.

        What creates something is committed to by then, and has no time for other questions: without a token
        at hand it gets None. For others site or token server are asked; raises `CallFailed`.
        """
        return self._login.access_at_hand() if is_committed else self._login.access()

    def send(
        self,
        access: Access,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        *,
        fresh: bool,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> HttpResponse | NotSent | Unknown:
        """Send one request, once.

        Args:
            path: what follows the API's version.
            content: sent as it is, in place of ``body``, which is sent as JSON.
            timeout: seconds for this request, in place of the account's.
        """
        http = self._at(access.address)
        return http.exchange(
            method,
            path,
            body,
            params=params,
            content=content,
            headers={**(headers or {}), "Authorization": access.authorization},
            timeout=timeout,
            fresh=fresh,
        )

    def refused(self, problem: AuthProblem, access: Access) -> AuthProblem:
        """Drop a token that Jira refused, and say so, unless it lacks a scope: no other token mends that."""
        if problem.status != 401 or problem.is_of_scope:
            return problem
        return replace(problem, is_renewed=self._login.refused(access))

    def granted_scopes(self) -> frozenset[str]:
        """Return the scopes of an OAuth login, where its token server says them; else none."""
        return self._login.scopes() if isinstance(self._login, ClientCredentials) else frozenset()

    def close(self) -> None:
        """Close all connections. May be repeated; the next request opens them again."""
        self._login.close()
        for http in tuple(self._http.values()):
            http.close()

    def _at(self, address: str) -> HttpOnce:
        """Return the connections to an address: a site has one, known perhaps only once it was asked for."""
        with self._lock:
            if address not in self._http:
                self._http[address] = HttpOnce(
                    "Jira",
                    f"{address}/rest/api/{self._version}",
                    {"Accept": "application/json"},
                    timeout=self._timeout,
                    most_bytes=MOST_BYTES,
                    transport=self._transport,
                )
            return self._http[address]

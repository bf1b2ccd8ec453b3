"""Login by OAuth 2 client credentials: access tokens that live an hour or so, and are renewed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Final

import httpx
import structlog

from worker.http_once import HttpOnce
from worker.jira.answers import CallFailed, OAuthClient
from worker.jira.login.access import Access
from worker.jira.login.cloud_id import CloudId
from worker.jira.login.grant import Grant, read_grant
from worker.jira.login.tokens import bearer
from worker.observe import metrics

REQUEST: Final = "token"
"""Name of the request in metrics and in `CallFailed`."""

AGAIN_SECONDS: Final = 30.0
"""Pause after a renewal that failed, while the token before it lives."""

_MOST_BYTES: Final = 65_536

log = structlog.get_logger("threadsync.syncs")


class ClientCredentials:
    """OAuth 2 client credentials, at the gateway. Safe for threads: one renews, the others wait for it.

    A token is renewed at 80 % of its life, and after Jira refused it. If the token server does not respond,
    the token before it is used to its end, and from then on it is as if Jira were away.

    Args:
        timeout: seconds that the token server may take.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        cloud_id: CloudId,
        client: OAuthClient,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._cloud_id = cloud_id
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._grant: Grant | None = None
        self._not_before = 0.0
        self._http = HttpOnce(
            "the token server",
            client.token_url,
            {"Accept": "application/json"},
            timeout=timeout,
            most_bytes=_MOST_BYTES,
            transport=transport,
        )

    def access(self) -> Access:
        return Access(self._cloud_id.address(), bearer(self._current().token))

    def access_at_hand(self) -> Access | None:
        address, grant = self._cloud_id.known_address, self._grant
        if address is None or grant is None or grant.is_over(self._clock()):
            return None
        return Access(address, bearer(grant.token))

    def refused(self, access: Access) -> bool:
        """Drop the token that Jira refused; one that another thread has renewed since stays."""
        with self._lock:
            if self._grant and bearer(self._grant.token) == access.authorization:
                self._grant = None
        return True

    def scopes(self) -> frozenset[str]:
        """Return the scopes that the token server granted; empty if it does not say. Raises `CallFailed`."""
        return self._current().scopes

    def close(self) -> None:
        self._cloud_id.close()
        self._http.close()

    def _current(self) -> Grant:
        with self._lock:
            before, now = self._grant, self._clock()
            alive = before if before and not before.is_over(now) else None
            if alive and (not alive.is_due(now) or now < self._not_before):
                return alive
            try:
                self._grant = self._asked(now)
            except CallFailed as exc:
                if alive is None:
                    raise
                self._not_before = self._clock() + AGAIN_SECONDS
                log.warning("token not renewed", reason=exc.answer.why)
                return alive
            return self._grant

    def _asked(self, now: float) -> Grant:
        began = perf_counter()
        body = {
            "grant_type": "client_credentials",
            "client_id": self._client.client_id,
            "client_secret": self._client.client_secret,
        }
        found = read_grant(self._http.exchange("POST", "", body), now, datetime.now(UTC))
        is_granted = isinstance(found, Grant)
        metrics.jira_answered(REQUEST, "ok" if is_granted else type(found).__name__, perf_counter() - began)
        if isinstance(found, Grant):
            return found
        raise CallFailed(found, REQUEST)

"""The id of a site at Atlassian's gateway, given or asked of the site once a process."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Final
from uuid import UUID

import httpx

from threadsync.jira_login import AUTO
from worker.http_once import HttpOnce, HttpResponse, NotSent
from worker.jira.answers import CallFailed
from worker.jira.classification import json_object
from worker.observe import metrics

PATH: Final = "/_edge/tenant_info"
REQUEST: Final = "tenant_info"
"""Name of the request in metrics and in `CallFailed`."""

_MOST_BYTES: Final = 65_536


class CloudId:
    """Address of a site at the gateway. Safe for threads: one asks, the others wait.

    Args:
        given: a UUID, or ``auto``.
        timeout: seconds that the question may take. The site is asked without a login.
    """

    def __init__(
        self,
        site: str,
        gateway: str,
        given: str,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._gateway = gateway.rstrip("/")
        self._known = None if given == AUTO else given
        self._lock = threading.Lock()
        headers = {"Accept": "application/json"}
        self._http = HttpOnce(
            "Jira", site, headers, timeout=timeout, most_bytes=_MOST_BYTES, transport=transport
        )

    @property
    def known_address(self) -> str | None:
        """The site's address at the gateway; None while the id is not known."""
        return f"{self._gateway}/ex/jira/{self._known}" if self._known else None

    def address(self) -> str:
        """Return the site's address at the gateway.

        Raises `CallFailed` with ``NotSent`` while the site does not say its id.
        """
        with self._lock:
            self._known = self._known or self._asked()
        return self.known_address or ""

    def close(self) -> None:
        self._http.close()

    def _asked(self) -> str:
        began = perf_counter()
        answer = self._http.exchange("GET", PATH)
        found = cloud_id_in(answer) if isinstance(answer, HttpResponse) else answer
        label = "ok" if isinstance(found, str) else type(found).__name__
        metrics.jira_answered(REQUEST, label, perf_counter() - began)
        if isinstance(found, str):
            return found
        why = f"the site's cloud id is not known: {found.why}"
        # The request that needs the id was not sent, whatever became of this one.
        raise CallFailed(NotSent(why), REQUEST)


def cloud_id_in(answer: HttpResponse) -> str | NotSent:
    """Read the id in the response of `PATH`. Pure."""
    content = json_object(answer.content) if answer.status == 200 else None
    try:
        return str(UUID(str((content or {})["cloudId"])))
    except (KeyError, ValueError):
        return NotSent(f"{PATH} answered {answer.status}, and not with an id")

"""Circuit breaker of a site that refuses all calls: its syncs are parked, and it is probed."""

from __future__ import annotations

from typing import Final

import structlog

from worker.jira.answers import AuthProblem, CallFailed, Rejected
from worker.jira.setup import Setup

PROBE_SECONDS: Final = 30.0

log = structlog.get_logger("threadsync.syncs")


class Breaker:
    """Circuit breaker that probes with ``GET /myself``, which only a site that refuses all calls refuses."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def trouble(self) -> str | None:
        """Return the reason for which the site refuses all calls; None if it does not, or cannot be asked."""
        try:
            self._setup.jira.myself()
        except CallFailed as exc:
            if isinstance(exc.answer, AuthProblem):
                return "web_page" if exc.answer.is_page else "no_access"
            return "not_found" if isinstance(exc.answer, Rejected) else None
        return None

    def probe(self) -> int | None:
        """Probe again if that is due, and resume the parked syncs when the site accepts us.

        Returns how many syncs go on; None when it was not due, or the site still refuses.
        """
        store, site = self._setup.store, self._setup.target.site
        if not store.take_probe(site, PROBE_SECONDS):
            return None
        try:
            self._setup.jira.myself()
        except CallFailed as exc:
            log.warning("site still refuses us", site=site, reason=exc.answer.why)
            return None
        count = store.close_breaker(site)
        log.info("site accepts us again", site=site, syncs=count)
        return count

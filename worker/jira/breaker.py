"""Circuit breaker of a site that refuses all calls: its syncs are parked, and it is probed.

A missing scope does not show in ``GET /myself``, and flaps if that is the probe: Jira knows the account and
refuses the next create. Such a site is probed by a sync, the one that met the refusal, every 15 minutes.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog

from worker.jira.answers import AuthProblem, CallFailed, Created, Rejected
from worker.jira.decide import SCOPE_MISSING, SCOPE_PROBE_SECONDS, Absent, Found, Outcome, Several
from worker.jira.login.renewal import renewed_once
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
            renewed_once(self._setup.jira.myself)
        except CallFailed as exc:
            if _knows_us(exc):
                return None
            if isinstance(exc.answer, AuthProblem):
                return "web_page" if exc.answer.is_page else "no_access"
            return "not_found" if isinstance(exc.answer, Rejected) else None
        return None

    def probe(self) -> int | None:
        """Probe again if that is due, and resume the parked syncs when the site accepts us.

        Returns how many syncs go on; None when it was not due, or the site still refuses.
        """
        store, site = self._setup.store, self._setup.target.site
        trouble = store.take_probe(site, PROBE_SECONDS)
        if trouble is None:
            return None
        if trouble == SCOPE_MISSING:
            # Without a sync that waits there is nothing to probe with, and nothing to keep from Jira.
            is_probed = store.probe_by_a_sync(site, SCOPE_PROBE_SECONDS) is not None
            return None if is_probed else self.close()
        try:
            renewed_once(self._setup.jira.myself)
        except CallFailed as exc:
            if not _knows_us(exc):
                log.warning("site still refuses us", site=site, reason=exc.answer.why)
                return None
        return self.close()

    def open(self, trouble: str, met_by: UUID) -> None:
        """Park the site's syncs; ``met_by`` is the sync that met the trouble."""
        site = self._setup.target.site
        by_a_sync = trouble == SCOPE_MISSING
        seconds = SCOPE_PROBE_SECONDS if by_a_sync else PROBE_SECONDS
        count = self._setup.store.open_breaker(site, trouble, seconds, met_by if by_a_sync else None)
        log.error("site refuses us", site=site, reason=trouble, parked=count)

    def close(self) -> int:
        """Resume the parked syncs; return their number."""
        site = self._setup.target.site
        count = self._setup.store.close_breaker(site)
        log.info("site accepts us again", site=site, syncs=count)
        return count


def shows_acceptance(outcome: Outcome) -> bool:
    """Return True if the step of a probing sync shows that Jira accepts its requests again. Pure.

    A create that Jira refused for its content passed the scopes; a search that was refused shows nothing.
    """
    return isinstance(outcome, Created | Found | Several | Absent | Rejected)


def _knows_us(failed: CallFailed) -> bool:
    """Return True if Jira only lacks a scope for the question who we are."""
    return isinstance(failed.answer, AuthProblem) and failed.answer.is_of_scope

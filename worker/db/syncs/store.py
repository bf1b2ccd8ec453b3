"""Store of syncs: claim one, write how its steps end, record decisions about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

import structlog
from pydantic import ValidationError

from threadsync.actors import AnyActor, SlackActor, as_json, readable_actor
from threadsync.channel_settings.resolution import Defaults
from threadsync.channel_settings.values import SettingName
from threadsync.syncs import (
    UNREADABLE,
    Attempt,
    Draft,
    Step,
    SyncAction,
    SyncDetail,
    SyncState,
    SyncStatus,
    readable,
)
from threadsync.types import describe
from worker.db.forgetting.arrivals import kept
from worker.db.reporters.store import ReporterStore
from worker.db.store import Store
from worker.db.syncs import decision_sql, site_sql, sql
from worker.db.syncs.claim import Begun, Claim, Ending, Sender
from worker.db.ticket_steps.store import TicketStepStore
from worker.db.unlinked.store import UnlinkedStore

log = structlog.get_logger("threadsync.worker")


RetryOutcome = Literal["applied", "unchanged", "refused"]


@dataclass(frozen=True, slots=True)
class SiteTrouble:
    """Trouble of a site: a reason for which its syncs are parked, or pauses in seconds.

    ``endpoints`` are those of single endpoints, by name. ``probed_by`` is the sync that may go on in spite of
    the reason.
    """

    reason: str | None
    paused_for: float
    endpoints: Mapping[str, float] = field(default_factory=dict)
    probed_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class OwnDraft:
    """A draft as its requester may see it. ``detail`` is Jira's words on it, or other words of its sync."""

    draft: Draft
    drafted_at: str
    reason: str | None
    detail: str | None
    channel_id: str
    thread_ts: str


class SyncStore(Store):
    """Store of syncs; each method is one transaction."""

    @property
    def unlinked(self) -> UnlinkedStore:
        """The store of unlinked tickets."""
        return UnlinkedStore(self._pool, self._clock)

    @property
    def steps(self) -> TicketStepStore:
        """The store of the steps that follow tickets."""
        return TicketStepStore(self._pool, self._clock)

    @property
    def reporters(self) -> ReporterStore:
        """The store of projects in which a reporter did not work."""
        return ReporterStore(self._pool, self._clock)

    def get(self, session_id: UUID) -> SyncDetail | None:
        """Read a sync with its attempts and decisions, or None."""
        rows = self._rows(sql.GET_SYNC, {"session_id": session_id})
        if not rows:
            return None
        attempts = self._rows(sql.LIST_ATTEMPTS, {"session_id": session_id})
        return SyncDetail(
            sync=SyncState.of_row(rows[0]),
            draft=readable(rows[0]["draft"]) or UNREADABLE,
            drafted_at=str(rows[0]["drafted_at"]),
            detail=rows[0]["detail"],
            marker=rows[0]["marker"],
            slack_trouble=rows[0]["slack_trouble"],
            attempts=tuple(map(Attempt.of_row, attempts)),
            actions=self.actions(session_id),
            unlinked=self.unlinked.of(session_id),
            steps=self.steps.of(session_id),
        )

    def drafted_by(self, session_id: UUID, actor: SlackActor) -> OwnDraft | None:
        """Read a draft for the person who wrote it; None for others, and for one that cannot be read."""
        params = {"session_id": session_id, "user_id": actor.user_id, "team_id": actor.team_id}
        rows = self._rows(sql.GET_DRAFT, params)
        draft = readable(rows[0]["draft"]) if rows else None
        if draft is None:
            return None
        row = rows[0]
        return OwnDraft(
            draft, str(row["drafted_at"]), row["reason"], row["detail"], row["channel_id"], row["thread_ts"]
        )

    def get_state(self, session_id: UUID) -> SyncState | None:
        """Read the state of a sync, or None."""
        return self._state(sql.GET_SYNC, {"session_id": session_id})

    def list_syncs(
        self, state: SyncStatus | None = None, limit: int = 50, before: UUID | None = None
    ) -> list[SyncState]:
        """List syncs, newest session first, from before the session id ``before``."""
        statement = sql.LIST_SYNCS if state is None else sql.LIST_SYNCS_BY_STATE
        rows = self._rows(statement, {"state": state, **self._page(limit, before)})
        return [SyncState.of_row(row) for row in rows]

    def actions(self, session_id: UUID) -> tuple[SyncAction, ...]:
        """Return the decisions of people about a session's ticket, oldest first."""
        rows = self._rows(decision_sql.LIST_ACTIONS, {"session_id": session_id})
        return tuple(map(SyncAction.of_row, rows))

    def sites_of(self, session_ids: Sequence[UUID]) -> dict[UUID, str]:
        """Return the Jira of each session's ticket, where one is known."""
        rows = self._rows(sql.SITES_OF, {"session_ids": list(session_ids)})
        return {row["session_id"]: row["site"] for row in rows}

    def claim(self, session_id: UUID, *, site: str, lease: float) -> Claim | None:
        """Take a sync that is due for ``lease`` seconds; None if it is not due, or not free.

        None also for one that cannot be read, as another release may have written it. It counts as claimed,
        so that after a few times an operator is to look.
        """
        params = {"session_id": session_id, "site": site, "lease": lease}
        rows = self._rows(sql.CLAIM, params)
        try:
            claim = Claim.of_row(rows[0]) if rows else None
        except ValidationError as exc:
            log.warning("sync cannot be read", session_id=str(session_id), faults=describe(exc))
            return None
        if claim and rows[0]["marker"] is None:
            self._rows(sql.MARK, {**_of(claim), "marker": claim.marker})
        return claim

    def tickets_like(self, site: str, project_key: str, sender: Sender, limit: int) -> list[str]:
        """Return ids of tickets in the project that ``sender`` created, newest first."""
        params = {"site": site, "project_key": project_key, "limit": limit, **sender.model_dump()}
        return [row["jira_id"] for row in self._rows(sql.TICKETS_LIKE, params)]

    def has_claim(self, claim: Claim) -> bool:
        """Return True if the claim still holds."""
        return bool(self._rows(sql.HAS_CLAIM, _of(claim))[0]["has_claim"])

    def begin_create(
        self,
        claim: Claim,
        *,
        site: str,
        project_key: str,
        defaults: Defaults,
        baseline: int,
        at_once: int,
        deadline: float,
        turn: float,
        lease: float,
        sender: Sender | None = None,
    ) -> Begun | None:
        """Commit to a create before it is sent.

        None: the claim is lost, ``at_once`` others of the project are in flight, or the draft changed and now
        names another project. ``defaults`` are for what the draft does not name. Seconds from now:
        ``deadline``, after which the sender has given up; ``turn``, for which others wait; ``lease``.
        ``sender`` is who sends it.
        """
        params = {
            **_of(claim),
            **(sender or Sender()).model_dump(),
            "site": site,
            "project_key": project_key,
            "default_project_key": defaults.project.value if defaults.project else None,
            "project_from": defaults.project.source if defaults.project else None,
            "issue_type": defaults.issue_type.value,
            "issue_type_from": defaults.issue_type.source,
            "baseline": baseline,
            "at_once": at_once,
            "deadline": deadline,
            "turn": turn,
            "lease": lease,
            "now": self._now(),
        }
        with self._connection() as connection, connection.transaction():
            connection.execute(sql.LOCK_PROJECT, params)
            rows = connection.execute(sql.BEGIN_CREATE, params).fetchall()
        if not rows:
            return None
        draft, drafted_by = Draft.model_validate(rows[0]["draft"]), readable_actor(rows[0]["drafted_by"])
        return Begun(draft, rows[0]["number"], drafted_by)

    def finish(self, claim: Claim, ending: Ending) -> SyncState | None:
        """Write the end of a step; return the sync as it is then, or None when the claim is lost."""
        params = {**ending.parameters(), **_of(claim), "detail": kept(ending.detail, self._pool)}
        return self._state(sql.FINISH, params)

    def confirm_setting(self, channel_id: str, name: SettingName, value: str) -> bool:
        """Record that Jira knows what the channel's setting says; False if nothing doubted it."""
        params = {"channel_id": channel_id, "name": name, "value": value}
        return bool(self._rows(sql.CONFIRM_SETTING, params))

    def release(self, claim: Claim, delay: float) -> SyncState | None:
        """Release a sync as it was; it is due again after ``delay`` seconds."""
        return self._state(sql.RELEASE, {**_of(claim), "delay": delay})

    def follow_up(
        self,
        claim: Claim,
        step: Step,
        outcome: str,
        *,
        is_over: bool,
        delay: float | None,
        started_at: datetime,
        failures: int = 0,
        reason: str | None = None,
        detail: str | None = None,
        http_status: int | None = None,
        trace_id: str | None = None,
        duplicates: Sequence[str] | None = None,
    ) -> SyncState | None:
        """Write the outcome of a step that follows a ticket; ``delay`` is None if it was the last one."""
        params = {
            **_of(claim),
            "step": step,
            "outcome": outcome,
            "is_over": is_over,
            "delay": delay,
            "started_at": started_at,
            "failures": failures,
            "reason": reason,
            "detail": kept(detail, self._pool),
            "http_status": http_status,
            "trace_id": trace_id,
            "duplicates": list(duplicates) if duplicates is not None else None,
        }
        return self._state(sql.FOLLOW_UP, params)

    def trouble_of(self, site: str) -> SiteTrouble:
        """Read the trouble of a site, if there is any."""
        rows = self._rows(site_sql.GET_SITE, {"site": site})
        endpoints = {row["endpoint"]: row["paused_for"] for row in rows if row["endpoint"]}
        of_the_site = [row for row in rows if not row["endpoint"]]
        if not of_the_site:
            return SiteTrouble(None, 0.0, endpoints)
        found = of_the_site[0]
        return SiteTrouble(found["trouble"], found["paused_for"] or 0.0, endpoints, found["probe_session_id"])

    def pause_site(self, site: str, seconds: float) -> None:
        """Keep all calls from the site for so long."""
        self._rows(site_sql.PAUSE_SITE, {"site": site, "seconds": seconds})

    def pause_endpoint(self, site: str, endpoint: str, seconds: float) -> None:
        """Keep all calls from one endpoint of the site for so long."""
        self._rows(site_sql.PAUSE_ENDPOINT, {"site": site, "endpoint": endpoint, "seconds": seconds})

    def open_breaker(self, site: str, trouble: str, probe_after: float, probed_by: UUID | None = None) -> int:
        """Park the syncs that wait for the site; return their number.

        Args:
            probed_by: the sync that is to probe the site, where `probe_by_a_sync` does.
        """
        params = {"site": site, "trouble": trouble, "probe_after": probe_after, "probe_session_id": probed_by}
        return len(self._rows(site_sql.OPEN_BREAKER, params))

    def take_probe(self, site: str, probe_after: float) -> str | None:
        """Return the site's trouble if the caller is to probe it; no other is for ``probe_after`` seconds."""
        rows = self._rows(site_sql.TAKE_PROBE, {"site": site, "probe_after": probe_after})
        return rows[0]["trouble"] if rows else None

    def probe_by_a_sync(self, site: str, again_after: float) -> UUID | None:
        """Let one of the site's waiting syncs go on, as a probe; return it, or None if none waits."""
        rows = self._rows(site_sql.PROBE_BY_A_SYNC, {"site": site, "again_after": again_after})
        return rows[0]["session_id"] if rows else None

    def close_breaker(self, site: str) -> int:
        """Resume the parked syncs of a site; return their number."""
        return len(self._rows(site_sql.CLOSE_BREAKER, {"site": site}))

    def park_unconfigured(self, session_id: UUID) -> bool:
        """Park a sync that this worker knows no Jira for; False when it stays as it is."""
        return bool(self._rows(site_sql.PARK_UNCONFIGURED, {"session_id": session_id}))

    def unpark(self, site: str) -> int:
        """Resume syncs that were parked without a Jira, or with another one; return their number."""
        return len(self._rows(site_sql.UNPARK, {"site": site}))

    def pull_in(self) -> int:
        """Make syncs due that wait for an absurdly late moment; return their number."""
        return len(self._rows(sql.PULL_IN, {}))

    def take_due(self, *, most: int, for_seconds: float) -> list[UUID]:
        """Take due syncs, oldest first; no other caller gets them for ``for_seconds``."""
        rows = self._rows(sql.TAKE_DUE, {"most": most, "for_seconds": for_seconds})
        return [row["session_id"] for row in rows]

    def retry(self, session_id: UUID, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> bool:
        """Try a sync again now, and record the decision; False when there is nothing to try."""
        params = {"session_id": session_id, **_decision(actor, reason, acted_by)}
        return bool(self._rows(decision_sql.RETRY, params))

    def retry_once(
        self, session_id: UUID, *, actor: str, reason: str, acted_by: AnyActor | None, command_id: UUID
    ) -> RetryOutcome:
        """Try a sync again for a command, and record it: ``applied | unchanged | refused``.

        ``unchanged``: there is nothing to try, it is tried, or the same command came before. ``refused``:
        this person may not act in the channel.
        """
        acting = acted_by.model_dump_json(exclude_none=True) if acted_by else None
        params = {"acting": acting, "command_id": command_id, **_decision(actor, reason, acted_by)}
        rows = self._rows(decision_sql.RETRY_ONCE, {"session_id": session_id, **params})
        if not rows:
            return "unchanged"
        return "refused" if rows[0]["is_refused"] else "applied"

    def retry_all_blocked(self, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> list[UUID]:
        """Retry all blocked syncs; return their sessions."""
        rows = self._rows(decision_sql.RETRY_ALL_BLOCKED, _decision(actor, reason, acted_by))
        return [row["session_id"] for row in rows]

    def give_up(self, session_id: UUID, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> bool:
        """End a sync without a ticket; False when it is over, or a create is in flight."""
        params = {"session_id": session_id, **_decision(actor, reason, acted_by)}
        return bool(self._rows(decision_sql.GIVE_UP, params))

    def _state(self, statement: LiteralString, params: Mapping[str, Any]) -> SyncState | None:
        rows = self._rows(statement, params)
        return SyncState.of_row(rows[0]) if rows else None


def _decision(actor: str, reason: str, acted_by: AnyActor | None) -> dict[str, Any]:
    return {"actor": actor, "reason": reason, "acted_by": as_json(acted_by)}


def _of(claim: Claim) -> dict[str, Any]:
    return {"session_id": claim.session_id, "fence": claim.fence}

"""Syncs in Postgres: claim one, write how its steps end, let people decide about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import structlog
from psycopg.rows import DictRow
from pydantic import ValidationError

from threadsync.actors import AnyActor, as_json
from threadsync.syncs import (
    UNREADABLE,
    Attempt,
    Claim,
    Draft,
    Step,
    SyncAction,
    SyncDetail,
    SyncState,
    SyncStatus,
    readable,
)
from threadsync.types import describe
from worker.db.driver_errors import translated
from worker.db.forgetting.jira_words import kept
from worker.db.pool import Pool, init_db
from worker.db.syncs import sql as queries
from worker.db.unlinked.store import LeftStore

log = structlog.get_logger("threadsync.worker")

_AFTER_ALL_IDS: Final = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Begun:
    """A create that is committed to: send this draft, and end attempt ``number``."""

    draft: Draft
    number: int


@dataclass(frozen=True, slots=True)
class SiteTrouble:
    """Trouble of a site: a reason for which its syncs are parked, or pauses in seconds.

    ``endpoints`` are those of single endpoints, by name.
    """

    reason: str | None
    paused_for: float
    endpoints: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a step ended, and the state that comes of it.

    Args:
        number: of the create that ended; None notes a new attempt, of ``step``.
        outcome: None notes no attempt.
        doubt_ends_as: what the creates in doubt turned out to be.
    """

    state: SyncStatus
    step: Step
    outcome: str | None
    delay: float | None = None
    reason: str | None = None
    detail: str | None = None
    parked: bool = False
    failures: int = 0
    failing_since: datetime | None = None
    looks: int = 0
    absences: int = 0
    recreates: int = 0
    jira_id: str | None = None
    jira_key: str | None = None
    origin: str | None = None
    number: int | None = None
    started_at: datetime | None = None
    http_status: int | None = None
    trace_id: str | None = None
    doubt_ends_as: str | None = None


class SyncStore:
    """Each method is one transaction. All raise ``DatabaseUnavailable`` when Postgres is away.

    Args:
        pool: the process's own if None.
        clock: for those who cannot wait ten minutes; the database's if None.
    """

    def __init__(self, pool: Pool | None = None, clock: Callable[[], datetime] | None = None) -> None:
        self._pool = pool
        self._clock = clock

    @property
    def left(self) -> LeftStore:
        """The tickets that were taken off sessions."""
        return LeftStore(self._pool, self._clock)

    def get(self, session_id: UUID) -> SyncDetail | None:
        """All that is known of a sync, or None."""
        rows = self._rows(queries.GET_SYNC, {"session_id": session_id})
        if not rows:
            return None
        attempts = self._rows(queries.LIST_ATTEMPTS, {"session_id": session_id})
        return SyncDetail(
            sync=SyncState.of_row(rows[0]),
            draft=readable(rows[0]["draft"]) or UNREADABLE,
            drafted_at=str(rows[0]["drafted_at"]),
            detail=rows[0]["detail"],
            marker=rows[0]["marker"],
            slack_trouble=rows[0]["slack_trouble"],
            attempts=tuple(map(Attempt.of_row, attempts)),
            actions=self.actions(session_id),
            left=self.left.of(session_id),
        )

    def get_state(self, session_id: UUID) -> SyncState | None:
        """How a sync stands, or None."""
        rows = self._rows(queries.GET_SYNC, {"session_id": session_id})
        return SyncState.of_row(rows[0]) if rows else None

    def list_syncs(
        self, state: SyncStatus | None = None, limit: int = 50, before: UUID | None = None
    ) -> list[SyncState]:
        """Syncs, newest session first, from before the session id ``before``."""
        sql = queries.LIST_SYNCS if state is None else queries.LIST_SYNCS_BY_STATE
        params = {"state": state, "limit": limit, "before": before or _AFTER_ALL_IDS}
        return [SyncState.of_row(row) for row in self._rows(sql, params)]

    def actions(self, session_id: UUID) -> tuple[SyncAction, ...]:
        """Return the decisions of people about a session's ticket, oldest first."""
        rows = self._rows(queries.LIST_ACTIONS, {"session_id": session_id})
        return tuple(map(SyncAction.of_row, rows))

    def sites_of(self, session_ids: Sequence[UUID]) -> dict[UUID, str]:
        """Return the Jira of each session's ticket, where one is known."""
        rows = self._rows(queries.SITES_OF, {"session_ids": list(session_ids)})
        return {row["session_id"]: row["site"] for row in rows}

    def claim(self, session_id: UUID, *, site: str, marker: str, lease: float) -> Claim | None:
        """Take a sync that is due for ``lease`` seconds; None if it is not due, or somebody has it.

        None also for one that cannot be read, as another release may have written it. It counts as claimed,
        so that after a few times a person is to look.
        """
        params = {"session_id": session_id, "site": site, "marker": marker, "lease": lease}
        rows = self._rows(queries.CLAIM, params)
        try:
            return Claim.model_validate(rows[0]) if rows else None
        except ValidationError as exc:
            log.warning("sync cannot be read", session_id=str(session_id), faults=describe(exc))
            return None

    def has_claim(self, claim: Claim) -> bool:
        """Whether it still holds."""
        return bool(self._rows(queries.HAS_CLAIM, _of(claim))[0]["has_claim"])

    def begin_create(
        self,
        claim: Claim,
        *,
        site: str,
        project_key: str,
        default_project_key: str | None,
        baseline: int,
        at_once: int,
        deadline: float,
        turn: float,
        lease: float,
    ) -> Begun | None:
        """Commit to a create before it is sent.

        None: the claim is lost, ``at_once`` others of the project are in flight, or the draft changed and now
        names another project. Seconds from now: ``deadline``, after which the sender has given up; ``turn``,
        for which others wait; ``lease``.
        """
        params = {
            **_of(claim),
            "site": site,
            "project_key": project_key,
            "default_project_key": default_project_key,
            "baseline": baseline,
            "at_once": at_once,
            "deadline": deadline,
            "turn": turn,
            "lease": lease,
            "now": self._now(),
        }
        with translated(), (self._pool or init_db()).connection() as connection, connection.transaction():
            connection.execute(queries.TAKE_TURN, params)
            rows = connection.execute(queries.BEGIN_CREATE, params).fetchall()
        return Begun(Draft.model_validate(rows[0]["draft"]), rows[0]["number"]) if rows else None

    def finish(self, claim: Claim, ending: Ending) -> SyncStatus | None:
        """Write how a step ended; returns the state that was written, or None when the claim is lost."""
        params = {
            **{name: getattr(ending, name) for name in Ending.__slots__},
            **_of(claim),
            "detail": kept(ending.detail, self._pool),
            "delay": ending.delay or 0.0,
        }
        rows = self._rows(queries.FINISH, params)
        return rows[0]["state"] if rows else None

    def release(self, claim: Claim, delay: float) -> None:
        """Let go of a sync as it was; it is due again after ``delay`` seconds."""
        self._rows(queries.RELEASE, {**_of(claim), "delay": delay})

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
    ) -> None:
        """Write what came of a step that follows a ticket; ``delay`` is None when no other one is to come."""
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
        self._rows(queries.FOLLOW_UP, params)

    def trouble_of(self, site: str) -> SiteTrouble:
        """What stands in the way of the site, if anything."""
        rows = self._rows(queries.GET_SITE, {"site": site})
        endpoints = {row["endpoint"]: row["paused_for"] for row in rows if row["endpoint"]}
        of_the_site = [row for row in rows if not row["endpoint"]]
        if not of_the_site:
            return SiteTrouble(None, 0.0, endpoints)
        return SiteTrouble(of_the_site[0]["trouble"], of_the_site[0]["paused_for"] or 0.0, endpoints)

    def pause_site(self, site: str, seconds: float) -> None:
        """Nothing is to be sent to the site for so long."""
        self._rows(queries.PAUSE_SITE, {"site": site, "seconds": seconds})

    def pause_endpoint(self, site: str, endpoint: str, seconds: float) -> None:
        """The same for one endpoint of it."""
        self._rows(queries.PAUSE_ENDPOINT, {"site": site, "endpoint": endpoint, "seconds": seconds})

    def open_breaker(self, site: str, trouble: str, probe_after: float) -> int:
        """Park all that waits for the site; returns how many syncs that are."""
        params = {"site": site, "trouble": trouble, "probe_after": probe_after}
        return len(self._rows(queries.OPEN_BREAKER, params))

    def take_probe(self, site: str, probe_after: float) -> bool:
        """Whether the caller is to ask the site; nobody else does for ``probe_after`` seconds."""
        return bool(self._rows(queries.TAKE_PROBE, {"site": site, "probe_after": probe_after}))

    def close_breaker(self, site: str) -> int:
        """Let go on what was parked; returns how many syncs that are."""
        return len(self._rows(queries.CLOSE_BREAKER, {"site": site}))

    def park_unconfigured(self, session_id: UUID) -> None:
        """Park a sync that this worker knows no Jira for."""
        self._rows(queries.PARK_UNCONFIGURED, {"session_id": session_id})

    def unpark(self, site: str) -> int:
        """Let go on what had no Jira to go to, or another one than ``site``; returns how many that are."""
        return len(self._rows(queries.UNPARK, {"site": site}))

    def pull_in(self) -> int:
        """Make due what would wait for longer than anything does; returns how many syncs that are."""
        return len(self._rows(queries.PULL_IN, {}))

    def take_due(self, *, most: int, for_seconds: float) -> list[UUID]:
        """Due syncs to send a message for, oldest first; no other caller gets them for ``for_seconds``."""
        rows = self._rows(queries.TAKE_DUE, {"most": most, "for_seconds": for_seconds})
        return [row["session_id"] for row in rows]

    def retry(
        self,
        session_id: UUID,
        *,
        actor: str,
        reason: str,
        acted_by: AnyActor | None = None,
        command_id: UUID | None = None,
    ) -> bool:
        """Try a sync again now, and note who wants it; False when there is nothing to try, or it is tried.

        False also for a ``command_id`` that was carried out before: the same command came again.
        """
        params = {"session_id": session_id, **_decision(actor, reason, acted_by)}
        if command_id is None:
            return bool(self._rows(queries.RETRY, params))
        return bool(self._rows(queries.RETRY_ONCE, {**params, "command_id": command_id}))

    def retry_all_blocked(self, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> list[UUID]:
        """The same for all that is blocked; returns their sessions."""
        rows = self._rows(queries.RETRY_ALL_BLOCKED, _decision(actor, reason, acted_by))
        return [row["session_id"] for row in rows]

    def give_up(self, session_id: UUID, *, actor: str, reason: str, acted_by: AnyActor | None = None) -> bool:
        """End a sync without a ticket; False when it is over, or a create is in flight."""
        params = {"session_id": session_id, **_decision(actor, reason, acted_by)}
        return bool(self._rows(queries.GIVE_UP, params))

    def _now(self) -> datetime | None:
        return self._clock() if self._clock else None

    def _rows(self, sql: LiteralString, params: Mapping[str, Any]) -> list[DictRow]:
        with translated(), (self._pool or init_db()).connection() as connection:
            return connection.execute(sql, {"now": self._now(), **params}).fetchall()


def _decision(actor: str, reason: str, acted_by: AnyActor | None) -> dict[str, Any]:
    return {"actor": actor, "reason": reason, "acted_by": as_json(acted_by)}


def _of(claim: Claim) -> dict[str, Any]:
    return {"session_id": claim.session_id, "fence": claim.fence}

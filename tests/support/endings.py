"""End a claim of a sync, and tell the state that comes of it."""

from __future__ import annotations

from threadsync.syncs import SyncStatus
from worker.db.syncs.claim import Claim, Ending
from worker.db.syncs.store import SyncStore


def state_after(syncs: SyncStore, claim: Claim, ending: Ending) -> SyncStatus | None:
    """Return the state that was written; None when the claim is lost."""
    state = syncs.finish(claim, ending)
    return state.state if state else None

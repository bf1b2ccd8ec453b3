"""Takes one sync as far as it can be taken now. ``decide.py`` decides what that means, ``turn.py`` does it.

    claim it                                        nobody else has it for a while
    pending, retry_wait   search for the marker     the database may have been restored, or another process
                                                    may have created it: adopt what is there
                          commit to the create      from here on it counts as maybe created
                          POST, once
    unknown               look: key probe, search   never a second POST before absence is certain
    done                  link back, then audit
    write what came of it, if the claim still holds

Whatever step it dies at, the next claim finds a state that says what may have happened.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from threadsync.errors import SyncNotFound
from threadsync.marker import marker_of
from threadsync.syncs import SyncState
from worker.db.syncs.store import SyncStore
from worker.jira.setup import Setup
from worker.jira.step import WRITE_SECONDS, Turn

_CALLS: Final = {"cloud": 2, "datacenter": 4}
"""That take long, of one step. A Data Center is asked for one key at a time."""


def run_sync(setup: Setup, session_id: UUID) -> SyncState:
    """Do what is due for the session's sync, if anything; returns how it stands then.

    Raises ``SyncNotFound``, or ``DatabaseUnavailable``: then the next claim goes on from there.
    """
    state = state_of(setup.store, session_id)
    if state.next_attempt_at is None:
        return state
    site = setup.target.site
    marker = marker_of(site, state.channel_id, state.thread_ts)
    began = setup.clock.monotonic()
    # Time for the calls, and for the wait for a turn. Who takes longer loses the claim, and no more.
    account = setup.target.account
    lease = _CALLS[account.deployment] * account.timeout + WRITE_SECONDS
    claim = setup.store.claim(session_id, site=site, marker=marker, lease=lease)
    if claim is None:
        return state
    Turn(setup, claim, began).take()
    return state_of(setup.store, session_id)


def park_without_jira(store: SyncStore, session_id: UUID) -> SyncState:
    """What becomes of a sync where no Jira is known: it says so, and waits for a worker that knows one."""
    store.park_unconfigured(session_id)
    return state_of(store, session_id)


def state_of(store: SyncStore, session_id: UUID) -> SyncState:
    """How the session's sync stands. Raises ``SyncNotFound``."""
    state = store.get_state(session_id)
    if state is None:
        raise SyncNotFound(f"no ticket was asked for by session {session_id}")
    return state

"""Take one sync as far as possible now: ``step.py`` does one step, ``decide.py`` the next state.

    claim it                                        no other process has it for a while
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

from typing import Final, NamedTuple
from uuid import UUID

from threadsync.errors import SyncNotFound
from threadsync.syncs import SyncState
from worker.db.syncs.store import SyncStore
from worker.jira.login.choice import questions_of
from worker.jira.setup import LOOKUP_SECONDS, Setup
from worker.jira.step import WRITE_SECONDS, SyncStep

_CALLS: Final = {"cloud": 2, "datacenter": 4}
"""Number of long calls in a step, by deployment; a Data Center is asked for one key at a time."""

_CALLS_FOR_A_REPORTER: Final = 2
"""Jira is asked for the person's account, and whether a ticket that was hidden from us is seen by now."""


class SyncRun(NamedTuple):
    """The sync after a step; ``is_news``: it shows something else than before."""

    state: SyncState
    is_news: bool


def run_sync(setup: Setup, session_id: UUID) -> SyncRun:
    """Do the step of the session's sync that is due, if any.

    Raises ``SyncNotFound``, or ``DatabaseUnavailable``: then the next claim goes on from there.
    """
    began = setup.clock.monotonic()
    # Time for the calls, and for the wait for a place. A step that takes longer only loses its claim.
    account = setup.target.account
    calls = _CALLS[account.deployment] + questions_of(account)
    if setup.target.names_requester:
        calls += _CALLS_FOR_A_REPORTER
    lease = calls * account.timeout + LOOKUP_SECONDS + WRITE_SECONDS
    claim = setup.store.claim(session_id, site=setup.target.site, lease=lease)
    if claim is None:
        return SyncRun(_state_of(setup.store, session_id), is_news=False)
    state = SyncStep(setup, claim, began).run() or _state_of(setup.store, session_id)
    return SyncRun(state, claim.changed(state))


def park_without_jira(store: SyncStore, session_id: UUID) -> SyncRun:
    """Park a sync if no Jira is configured, until a worker has one."""
    is_news = store.park_unconfigured(session_id)
    return SyncRun(_state_of(store, session_id), is_news)


def _state_of(store: SyncStore, session_id: UUID) -> SyncState:
    state = store.get_state(session_id)
    if state is None:
        raise SyncNotFound(f"no ticket was asked for by session {session_id}")
    return state

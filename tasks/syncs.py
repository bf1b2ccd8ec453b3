"""Tasks on syncs: run one, retry one, finish an unlinking, and the sweep that finds all that are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import structlog

from tasks.announcements import announce_due, announce_soon, ask_slack_again
from tasks.checked_task import CheckedTask
from tasks.send_soon import AGAIN_AFTER_SECONDS, note_that_it_came, room, send_soon
from tasks.ticket_steps import send_due_steps
from threadsync.actors import name_of
from threadsync.command import Message
from threadsync.queues import SYNCS_QUEUE
from threadsync.sync_commands import Leave, RetrySync, Sync
from worker.celery import app
from worker.db.syncs.store import SyncStore
from worker.durable.beat import SWEEP, SWEEP_TASK
from worker.durable.task_result import Answer

if TYPE_CHECKING:
    from worker.jira.setup import Setup

_MOST_IN_BROKER: Final = 200
_MOST_UNLINKED: Final = 20

log = structlog.get_logger("threadsync.syncs")


class SyncTask(CheckedTask):
    """Base of tasks on a sync. Calls to Jira have deadlines; the time limit is for the unforeseen."""

    abstract = True
    soft_time_limit = 110
    time_limit = 120


@app.task(name=Sync.name, base=SyncTask, command=Sync)
def sync(*args: Any, **kwargs: Any) -> Answer:
    """Do what is due for the session's sync."""
    return _run(_uuid(Sync.from_message(args, kwargs)))


@app.task(name=RetrySync.name, base=SyncTask, command=RetrySync)
def retry(*args: Any, **kwargs: Any) -> Answer:
    """Try a sync again that waits, is blocked or failed, and record the decision."""
    command = RetrySync.from_message(args, kwargs)
    name = command.actor if isinstance(command.actor, str) else name_of(command.actor)
    outcome = SyncStore().retry_once(
        _uuid(command),
        actor=name,
        reason=command.reason,
        acted_by=command.acted_by,
        command_id=UUID(str(command.command_id)) if command.command_id else uuid4(),
    )
    state = SyncStore().get_state(_uuid(command)) if outcome == "refused" else None
    return Answer(state.model_copy(update={"is_refused": True})) if state else _run(_uuid(command))


@app.task(name=Leave.name, base=SyncTask, command=Leave, ignore_result=True)
def leave(*args: Any, **kwargs: Any) -> None:
    """Finish the unlinking of a ticket in Jira, if that is due."""
    command = Leave.from_message(args, kwargs)
    # Without a Jira it waits for a worker that has one.
    if setup := _setup():
        from worker.jira.unlink import UnlinkStep, lease_of

        store = setup.store.unlinked
        claim = store.claim(UUID(str(command.session_id)), command.jira_key, lease=lease_of(setup))
        if claim:
            UnlinkStep(setup, claim).run()


# Every two seconds: Flower would show little else.
@app.task(name=SWEEP_TASK, ignore_result=True, send_events=False, is_routine=True)
def sweep() -> dict[str, int]:
    """Send a message for each due sync and outdated status message without one; probe sites and Slack.

    Several at once do no harm. Returns counts.
    """
    from worker.jira.breaker import Breaker

    note_that_it_came(SWEEP)
    store, setup = SyncStore(), _setup()
    unparked = store.unpark(setup.target.site) if setup else 0
    if far := store.pull_in():
        log.warning("syncs waited for a moment that makes no sense", syncs=far)
    sent = 0
    due = store.take_due(most=room(SYNCS_QUEUE, _MOST_IN_BROKER), for_seconds=AGAIN_AFTER_SECONDS)
    for session_id in due:
        sent += send_soon(Message(Sync.name, {"session_id": str(session_id)}, SYNCS_QUEUE))
    if setup:
        for session_id, key in store.unlinked.take_due(most=_MOST_UNLINKED, for_seconds=AGAIN_AFTER_SECONDS):
            sent += send_soon(unlinking(session_id, key))
        sent += send_due_steps()
    unparked += (Breaker(setup).probe() or 0) if setup else 0
    announced = announce_due()
    ask_slack_again()
    return {"sent": sent, "unparked": unparked, "announced": announced}


def unlinking(session_id: UUID, jira_key: str) -> Message:
    """Build the message for an unlinked ticket."""
    return Message(Leave.name, {"session_id": str(session_id), "jira_key": jira_key}, SYNCS_QUEUE)


def _uuid(command: Sync | RetrySync) -> UUID:
    return UUID(str(command.session_id))


def _setup() -> Setup | None:
    # A worker that serves other queues never loads Jira's part: tasks/loading.py.
    from worker.jira.setup import setup_of_this_process

    return setup_of_this_process()


def _run(session_id: UUID) -> Answer:
    from worker.jira.sync import park_without_jira, run_sync
    from worker.thread.process import syncing_setup_of_this_process

    setup = syncing_setup_of_this_process()
    run = run_sync(setup, session_id) if setup else park_without_jira(SyncStore(), session_id)
    if run.is_news:
        announce_soon(session_id)
    return Answer(run.state)

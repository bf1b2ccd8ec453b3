"""The task that does one step of what follows a ticket, and the part of the sweep that finds those due."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from tasks.checked_task import CheckedTask
from tasks.send_soon import AGAIN_AFTER_SECONDS, room, send_soon
from threadsync.command import Message
from threadsync.queues import SYNCS_QUEUE
from threadsync.sync_commands import Follow
from worker.celery import app
from worker.db.ticket_steps.store import StepKey, TicketStepStore

_MOST_A_SWEEP: Final = 20


class StepTask(CheckedTask):
    """Base of tasks on steps. Calls have deadlines; the time limit is for the unforeseen."""

    abstract = True
    soft_time_limit = 110
    time_limit = 120


@app.task(name=Follow.name, base=StepTask, command=Follow, ignore_result=True)
def follow(*args: Any, **kwargs: Any) -> None:
    """Do the step, if it is due."""
    # A worker that serves other queues never loads Jira's part: tasks/loading.py.
    from worker.jira.setup import setup_of_this_process
    from worker.thread.process import slack_of_this_process
    from worker.thread.step import StepRun, lease_of

    command = Follow.from_message(args, kwargs)
    # Without a Jira it waits for a worker that has one.
    if setup := setup_of_this_process():
        key = StepKey(UUID(str(command.session_id)), command.jira_id, command.step, command.file_id)
        claim = setup.store.steps.claim(key, lease=lease_of(setup))
        if claim:
            side = slack_of_this_process()
            StepRun(setup, claim, side.reader(setup.clock), side.names).run()


def send_due_steps() -> int:
    """Send the task for steps that are due and have no message, some at a time; return their number."""
    due = TicketStepStore().take_due(most=room(SYNCS_QUEUE, _MOST_A_SWEEP), for_seconds=AGAIN_AFTER_SECONDS)
    return sum(send_soon(_following(key)) for key in due)


def _following(key: StepKey) -> Message:
    values = {"jira_id": key.jira_id, "step": key.step, **({"file_id": key.file_id} if key.file_id else {})}
    return Message(Follow.name, {"session_id": str(key.session_id), **values}, SYNCS_QUEUE)

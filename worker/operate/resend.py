"""Send a dead letter's command again."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import uuid4

from threadsync.command import Command
from threadsync.dead_letters import DeadLetter
from threadsync.errors import EnqueueFailed, InvalidCommand
from threadsync.lookup_commands import (
    AccountLookup,
    DraftLookup,
    FormFieldsLookup,
    IssueTypesLookup,
    LinkLookup,
    ProjectsLookup,
)
from threadsync.sync_commands import Follow, Leave, RetrySync, Sync
from worker.db.sessions.statements import COMMANDS
from worker.durable.redaction import shown

_LOOKUPS: Final[tuple[type[Command[Any]], ...]] = (
    *(LinkLookup, ProjectsLookup, IssueTypesLookup, FormFieldsLookup, AccountLookup, DraftLookup),
)
_COMMANDS: Final[tuple[type[Command[Any]], ...]] = (*COMMANDS, Sync, Leave, Follow, RetrySync, *_LOOKUPS)
_BY_TASK: Final = {command.name: command for command in _COMMANDS}
"""Commands by the name of their task; arguments of other tasks are not shown."""


def resend(letter: DeadLetter, installation: str) -> str:
    """Send the command to its queue as a new task, and return the task's id.

    Raises ``InvalidCommand`` if its arguments cannot be read, and ``EnqueueFailed``, also for a broker of
    another ``installation``.
    """
    # Here: the console, which imports this, loads no broker's library before a replay.
    from threadsync.broker.errors import BROKER_ERRORS
    from threadsync.broker.installation import claim
    from worker.celery import app

    args, kwargs = _arguments(letter)
    try:
        argsrepr, kwargsrepr = shown(_BY_TASK.get(letter.task_name), args, kwargs, None, None)
        json.dumps([args, kwargs])
    except (ValueError, RecursionError):
        raise _not_readable(letter) from None
    # A new id, because the old one is a dead letter's already. Nothing waits for the result.
    task_id = str(uuid4())
    message: dict[str, Any] = {
        "task_id": task_id,
        # A queue that no worker reads would be the end of it.
        "queue": letter.queue if letter.queue in app.amqp.queues else app.conf.task_default_queue,
        "retry": False,
        "ignore_result": True,
        "argsrepr": argsrepr,
        "kwargsrepr": kwargsrepr,
    }
    try:
        with app.connection_or_acquire() as connection:
            claim(connection, installation)
        app.send_task(letter.task_name, args, kwargs, **message)
    except BROKER_ERRORS as exc:
        raise EnqueueFailed(f"the broker did not take the message: {type(exc).__name__}: {exc}") from exc
    return task_id


def _arguments(letter: DeadLetter) -> tuple[list[Any], dict[str, Any]]:
    try:
        message = json.loads(letter.arguments or "")
        args, kwargs = message["args"], message["kwargs"]
    except (ValueError, TypeError, KeyError, RecursionError):
        args = kwargs = None
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise _not_readable(letter)
    return args, kwargs


def _not_readable(letter: DeadLetter) -> InvalidCommand:
    return InvalidCommand(
        f"dead letter {letter.id} cannot be sent again, because its arguments cannot be read. Look at it "
        f"with `threadsync dead show {letter.id} --json`, send the command again, then discard it"
    )

"""Sending a dead letter's command once more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from threadsync.errors import EnqueueFailed, InvalidCommand

if TYPE_CHECKING:
    from threadsync.dead_letters import DeadLetter


def resend(letter: DeadLetter, installation: str) -> str:
    """Send the letter's command to its queue as a new task, and return the task's id.

    Not to the broker of another ``installation`` than the letter's.

    Raises ``InvalidCommand`` when the letter has no arguments that can be read, and ``EnqueueFailed``.
    """
    from threadsync.broker.errors import BROKER_ERRORS
    from threadsync.broker.installation import claim
    from threadsync.redaction import shown
    from worker.celery import app

    args, kwargs = _arguments(letter)
    try:
        argsrepr, kwargsrepr = shown(_command(letter.task_name), args, kwargs, None, None)
        json.dumps([args, kwargs])
    except (ValueError, RecursionError):
        raise _not_readable(letter) from None
    # A queue that no worker reads would be the end of it.
    queue = letter.queue if letter.queue in app.amqp.queues else app.conf.task_default_queue
    # A new id, because the old one is a letter already. Nobody waits for the result.
    task_id = str(uuid4())
    try:
        with app.connection_or_acquire() as connection:
            claim(connection, installation)
        app.send_task(
            letter.task_name,
            args,
            kwargs,
            task_id=task_id,
            queue=queue,
            retry=False,
            ignore_result=True,
            argsrepr=argsrepr,
            kwargsrepr=kwargsrepr,
        )
    except BROKER_ERRORS as exc:
        raise EnqueueFailed(f"the broker did not take the message: {type(exc).__name__}: {exc}") from exc
    return task_id


def _command(task_name: str) -> Any:
    """The command that the task runs; None for a task that is none of ours."""
    from worker.celery import app

    # The names of the tasks' modules are a setting: a worker need not import what stands above it.
    app.loader.import_default_modules()
    return getattr(app.tasks.get(task_name), "command", None)


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
        f"with `threadsync dead show {letter.id} --json`, send the command anew, then discard the letter"
    )

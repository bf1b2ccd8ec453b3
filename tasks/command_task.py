"""The Celery task of a command that is one SQL statement."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tasks.checked_task import CheckedTask
from tasks.send_soon import send_soon
from threadsync.command import Command
from threadsync.dto import Dto
from worker.celery import app
from worker.db.sessions.statements import FOR_MANY, message_after, statement_of
from worker.db.statement import Statement
from worker.durable import batching
from worker.durable.batching import outcome_of
from worker.durable.task_result import Answer


class CommandTask(CheckedTask):
    """Task of one kind of command: it reads the command from the message, and runs its statement."""

    abstract = True
    in_lane = False
    """True for a task whose commands may take the fast lane: ``worker.durable.lane``."""
    Strategy = staticmethod(batching.strategy)  # type: ignore[assignment]  # a path, say the stubs

    def statement(self, args: Any, kwargs: Any) -> Statement[Any]:
        """Return the statement of the command that a message carries. Raises ``InvalidCommand``."""
        return statement_of(self.command.from_message(args, kwargs))

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Carry the command out; return an ``Answer``, or None if a read finds nothing."""
        result = outcome_of(self.request.id or "", lambda: self.statement(args, kwargs))
        self.send_next(result)
        return Answer(result) if isinstance(result, Dto) else result

    def send_next(self, result: Any, parent_id: str | None = None) -> list[str]:
        """Send the message that follows the command, if any; return its id in a list.

        Args:
            parent_id: the command's id, if it does not run as a task of Celery's, which would be known.
        """
        message = message_after(self.command, result)
        if message is None:
            return []
        task_id = str(uuid4())
        return [task_id] if send_soon(message, task_id, parent_id) else []


def command_task(command: type[Command[Any]]) -> CommandTask:
    """Register the task that runs ``command``, under the command's name."""
    attributes = {"name": command.name, "command": command, "__doc__": command.__doc__}
    attributes["in_lane"] = command in FOR_MANY
    task: CommandTask = app.register_task(type(command.__name__, (CommandTask,), attributes)())
    return task

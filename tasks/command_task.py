"""The Celery task of a command: the message becomes the command again, and the command one SQL statement."""

from __future__ import annotations

from typing import Any, ClassVar

from tasks.send_soon import send_soon
from threadsync.command import StatementCommand
from threadsync.dto import Dto
from worker.celery import app
from worker.db.sessions.statements import Statement
from worker.durable import batching
from worker.durable.batching import outcome_of
from worker.durable.task import DurableTask
from worker.durable.task_result import Answer


class CommandTask(DurableTask):
    """Runs one kind of command. Made by ``command_task``; sent as every Celery task is."""

    abstract = True
    Strategy = staticmethod(batching.strategy)
    # Our own check says more, and leaves alone what a newer producer added.
    typing = False

    command: ClassVar[type[StatementCommand[Any]]]

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Send the command. Raises ``InvalidCommand`` before anything is sent, also for a misspelt name."""
        is_sent_again = bool(options.get("retries"))
        if not is_sent_again:
            self.command.refuse_unknown(kwargs or {})
            command = self.command.from_message(args, kwargs or {})
            kwargs = command.arguments()
            options["kwargsrepr"] = command.summary()
        return super().apply_async(args, kwargs, **options)

    def statement(self, args: Any, kwargs: Any) -> Statement[Any]:
        """The one statement of the command that a message carries. Raises ``InvalidCommand``."""
        return self.command.from_message(args, kwargs).statement()

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Carry the command out; returns an ``Answer``, or None where there is nothing to be found."""
        result = outcome_of(self.request.id or "", lambda: self.statement(args, kwargs))
        if message := self.command.message_after(result):
            send_soon(message)
        return Answer(result) if isinstance(result, Dto) else result


def command_task(command: type[StatementCommand[Any]]) -> CommandTask:
    """Register the Celery task that runs ``command``, under the command's name."""
    attributes = {"name": command.name, "command": command, "__doc__": command.__doc__}
    task: CommandTask = app.register_task(type(command.__name__, (CommandTask,), attributes)())
    return task

"""The base of tasks that carry out a command of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

from threadsync.command import Command
from worker.durable.task import DurableTask


class CheckedTask(DurableTask):
    """A task of one kind of command, which is validated before it is sent."""

    abstract = True
    # Our own check says more, and leaves alone what a newer producer added.
    typing = False

    command: ClassVar[type[Command[Any]]]

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Send the command. Raises ``InvalidCommand`` before anything is sent, also for a misspelt name."""
        # A message that is sent again was checked when it came, and a newer producer may have added to it.
        if not options.get("retries"):
            self.command.refuse_unknown(kwargs or {})
            command = self.command.from_message(args, kwargs or {})
            kwargs = command.arguments()
            options["kwargsrepr"] = command.summary()
        return super().apply_async(args, kwargs, **options)

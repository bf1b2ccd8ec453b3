"""The Celery tasks of the commands that are one SQL statement each (queue ``sessions``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.command_task import CommandTask, command_task
from worker.db.sessions.statements import COMMANDS

TASKS: Final[Mapping[str, CommandTask]] = {command.name: command_task(command) for command in COMMANDS}

"""Stop a worker within its grace, and see that it took a message."""

from __future__ import annotations

from tests.support.load import Message
from threadsync import SessionClient
from threadsync.errors import EnqueueFailed
from worker.db.sessions.statements import COMMANDS

STOP_SECONDS = 45
"""The grace at a stop: docs/operate/deploy.md."""


def has_it(client: SessionClient, message: Message) -> bool:
    task, arguments = message
    command = next(command for command in COMMANDS if command.name == task)
    try:
        client.enqueue(command(**arguments))
    except EnqueueFailed:
        return False
    return True

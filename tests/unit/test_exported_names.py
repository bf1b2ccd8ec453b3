"""The public names that other programs import from ``threadsync``, and the cost of importing it."""

from __future__ import annotations

import subprocess
import sys

import threadsync
from threadsync import errors
from worker.db.sessions.statements import COMMANDS

CLIENTS = {"AsyncHandle", "AsyncSessionClient", "Handle", "SendHook", "SessionClient", "add_send_hook"}
LATER_COMMANDS = {"Command", "LinkLookup", "RetrySync"}
VALUES = {
    *("Actor", "AnyActor", "NamedActor", "SlackActor", "Draft", "Outcome", "Status"),
    *("ChannelContext", "ChannelMove", "ContextResult", "LinkAnswer"),
    *("SessionPage", "SessionResult", "SyncState", "ThreadSession"),
}


def test_the_public_names_are_these() -> None:
    """The public names are the clients, values, errors and commands, sorted; users see a change here."""
    commands = {command.__name__ for command in COMMANDS}
    raised = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ThreadsyncError)
    }
    assert set(threadsync.__all__) == CLIENTS | commands | LATER_COMMANDS | VALUES | raised
    assert threadsync.__all__ == sorted(threadsync.__all__)
    assert all(hasattr(threadsync, name) for name in threadsync.__all__)


def test_a_client_loads_nothing_of_the_worker() -> None:
    """A client loads neither our other packages nor Celery, a database driver, Slack's or a web library."""
    code = (
        "import sys; from threadsync import SessionClient; SessionClient('redis://127.0.0.1:1/0')\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    ours = {"worker", "tasks", "handlers", "console", "sandbox"}
    others = {"celery", "psycopg", "slack_sdk", "slack_bolt", "starlette", "httpx", "jinja2"}
    assert not (ours | others) & set(done.stdout.split())

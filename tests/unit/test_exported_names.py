"""The public names: what other programs import from ``threadsync``, and what importing it does not load."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import threadsync
from threadsync import AsyncSessionClient, SessionClient, errors
from threadsync.commands import COMMANDS

CLIENTS = {"AsyncHandle", "AsyncSessionClient", "Handle", "SendHook", "SessionClient", "add_send_hook"}
LATER_COMMANDS = {"Command", "LinkLookup", "RetrySync"}
VALUES = {
    *("Actor", "AnyActor", "NamedActor", "SlackActor", "Draft", "Outcome", "Status"),
    *("ChannelContext", "ChannelMove", "ContextResult", "LinkAnswer"),
    *("SessionPage", "SessionResult", "SyncState", "ThreadSession"),
}
ASYNC_ALONE = {"tell_socket"}
"""For Socket Mode's process, which is asynchronous."""


def test_the_public_names_are_these() -> None:
    """Each error and each command is among them. A change here is one that users see."""
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
    """Not the worker's packages, Celery, a database driver, Slack's library or a web server."""
    code = (
        "import sys; from threadsync import SessionClient; SessionClient('redis://127.0.0.1:1/0')\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    ours = {"tasks", "handlers", "console", "sandbox"}
    others = {"celery", "psycopg", "slack_sdk", "slack_bolt", "starlette", "httpx", "jinja2"}
    assert not (ours | others) & set(done.stdout.split())


def methods_of(kind: type[Any]) -> dict[str, list[inspect.Parameter]]:
    return {
        name: list(inspect.signature(method).parameters.values())
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    """The same arguments, the same words about them, and handles of the same results."""
    sync, asynchronous = methods_of(SessionClient), methods_of(AsyncSessionClient)
    assert sync.keys() | ASYNC_ALONE == asynchronous.keys()
    for name in sync:
        one, other = getattr(SessionClient, name), getattr(AsyncSessionClient, name)
        assert one.__doc__ == other.__doc__, name
        returned = one.__annotations__["return"].replace("Handle[", "AsyncHandle[")
        assert returned == other.__annotations__["return"], name
        told = [str(parameter).replace("Handle[", "AsyncHandle[") for parameter in sync[name]]
        assert told == [str(parameter) for parameter in asynchronous[name]], name

"""Each command of `threadsync`, started as people start it: by its script, in an interpreter of its own.

Other tests run commands as forks of a process that has all modules loaded (tests/support/forked.py). Here
nothing is loaded before: what a command imports must be there, and in an order that works. ``make test``
starts every third, ``make test-all`` each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import typer.main

from tests.support.scale import bounded
from tests.support.servers import PostgresForTests, ValkeyForTests, ask
from threadsync.errors import CommandFailed
from threadsync.syncs import Draft
from worker.cli.program import app as threadsync
from worker.db import SessionStore
from worker.db.dead_letters.letter import Letter
from worker.db.dead_letters.store import DeadLetterStore
from worker.db.pool import Pool, new_pool
from worker.db.syncs.store import SyncStore

SCRIPT: Final = Path(sys.executable).with_name("threadsync")
CHANNEL: Final = "C0123"
SIGNED: Final = ("--reason", "a test", "--actor", "ann")
ARGUMENTS: Final = '{"args": [], "kwargs": {"channel_id": "C1", "thread_ts": "1.1"}}'


class Start(NamedTuple):
    """Arguments, in which THREAD and LETTER are of this command alone, and words of the output."""

    arguments: tuple[str, ...]
    says: str
    code: int = 0


STARTS: Final[dict[str, Start]] = {
    "migrate": Start((), "The database schema is at version"),
    "roles": Start((), "threadsync_run"),
    "broker-users": Start((), "threadsync-web"),
    "doctor": Start(("--role", "migrate"), "database: clock", code=1),
    "sessions import": Start(("FILE",), "1 lines: 1 created"),
    "sessions list": Start(("--channel", CHANNEL), "ready_to_sync"),
    "sessions show": Start(("THREAD",), "ready_to_sync"),
    "syncs list": Start(("--state", "pending"), CHANNEL),
    "syncs show": Start(("THREAD",), "pending"),
    "syncs retry": Start(("THREAD", *SIGNED), "pending"),
    "syncs link": Start(("THREAD", "PROJ-1", *SIGNED), "PROJ-1"),
    "syncs unlink": Start(("THREAD", *SIGNED), "PROJ-1"),
    "syncs give-up": Start(("THREAD", *SIGNED), "failed"),
    "channels moved": Start(("G0OLD", "C0NEW"), "G0OLD → C0NEW: applied"),
    "channels show": Start((CHANNEL,), "no settings of its own"),
    "channels set": Start(("C0SET", "labels=a,b", *SIGNED), "Set: labels = a, b."),
    "channels reset": Start(("C0SET", *SIGNED), "Reset: all settings"),
    "dead list": Start((), "CommandFailed: a failure"),
    "dead show": Start(("LETTER",), "CommandFailed"),
    "dead retry": Start(("LETTER", *SIGNED), "Sent sessions.get again"),
    "dead discard": Start(("LETTER", *SIGNED), "Discarded sessions.get"),
    "forget thread": Start(("THREAD", *SIGNED), "Forgotten: sessions"),
    "forget channel": Start(("C0GONE", *SIGNED), "Forgotten: sessions"),
    "forget user": Start(("U0GONE", *SIGNED), "Forgotten: sessions"),
    "audit list": Start(("--json",), "["),
    "health worker": Start((), "no such worker", code=1),
    "health socket": Start((), "no heartbeat from such a process", code=1),
    "health beat": Start((), "beat: deaf", code=1),
    "installation show": Start((), "broker: the same"),
    "installation adopt": Start(SIGNED, "belongs to this installation"),
    "installation renew": Start(SIGNED, "This installation is now"),
}
ELSEWHERE: Final = {
    "up": "tests/acceptance/test_up.py",
    "demo": "tests/long/test_demo.py",
    "worker": "tests/integration/test_worker_modules.py",
    "flower": "tests/support/flower.py",
    "metrics": "tests/support/exporter.py",
}
"""Commands that run until they are stopped, and the file that starts them."""


@pytest.fixture(scope="module")
def env(
    postgres: PostgresForTests, valkey: ValkeyForTests, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of the commands, on a database with a thread and a dead letter for each of them."""
    with postgres.database() as url:
        with new_pool(url) as pool:
            for command in STARTS:
                fill(pool, command)
        yield {**os.environ, "COLUMNS": "400", "DATABASE_URL": url, "CELERY_BROKER_URL": valkey.broker()}


def fill(pool: Pool, command: str) -> None:
    store, thread = SessionStore(pool), thread_of(command)
    session = store.get_or_create_session(CHANNEL, thread, "U1")
    store.request_sync(CHANNEL, thread, Draft(summary="a plan"), "1700000001.000100")
    if command == "syncs unlink":
        store.mark_synced(CHANNEL, thread, "PROJ-1")
    if command == "syncs retry":
        SyncStore(pool).give_up(session.id, actor="ann", reason="a test")
    failed = CommandFailed("a failure")
    letter: Any = {
        "task_id": command,
        "task_name": "sessions.get",
        "queue": "sessions",
        "arguments": ARGUMENTS,
    }
    DeadLetterStore(pool).bury(Letter(**letter, error=failed, attempts=1))


def thread_of(command: str) -> str:
    return f"1700000000.{[*STARTS].index(command):06}"


def letter_of(command: str, env: Mapping[str, str]) -> str:
    found = ask(env["DATABASE_URL"], "SELECT id::text FROM dead_letters WHERE task_id = %s", command)
    return str(found)


@pytest.mark.bounded
@pytest.mark.parametrize("command", [*STARTS][:: bounded(1, 3)])
def test_a_command_starts_by_itself(env: dict[str, str], command: str, tmp_path: Path) -> None:
    """A command does its work in a process that has nothing loaded, and writes no traceback."""
    file = tmp_path / "sessions.jsonl"
    file.write_text('{"channel_id": "C1", "thread_ts": "1.1", "user_id": "U1"}\n')
    meant = {
        "FILE": [str(file)],
        "LETTER": [letter_of(command, env)],
        "THREAD": [CHANNEL, thread_of(command)],
    }
    start = STARTS[command]
    arguments = [word for argument in start.arguments for word in meant.get(argument, [argument])]
    argv: list[str | Path] = [SCRIPT, *command.split(), *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (start.code, "")
    assert start.says in done.stdout


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the name of each command that does something, such as `dead list`."""
    if not hasattr(command, "commands"):
        yield " ".join(path)
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, (*path, name))


def test_each_command_is_started() -> None:
    """Each command of the tree is in one of the two tables."""
    assert sorted(leaves(typer.main.get_command(threadsync))) == sorted({**STARTS, **ELSEWHERE})

"""CONTRIBUTING's recipe for a command, followed in a copy of the tree and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.documents import ROOT, read
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from worker.db.pool import new_pool
from worker.db.sessions.store import SessionStore
from worker.local.child import Child

PACKAGES: Final = ("threadsync", "worker", "tasks")
_STEP: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"`(\w+/[\w/]+\.py)`")


def steps() -> tuple[list[tuple[str, str]], str]:
    """Return the recipe's files, each with its code, and the program that sends the command."""
    section = read("CONTRIBUTING.md").partition("## Add a command\n")[2].partition("\n## ")[0]
    # Alternately text and code.
    parts = _STEP.split(section)
    said, code = parts[:-1:2], parts[1::2]
    files = [_FILE.findall(text) for text in said]
    return [(found[0], text) for found, text in zip(files[:-1], code[:-1], strict=True)], code[-1]


def add(copy: Path) -> None:
    """Follow the recipe in the copy."""
    places, _program = steps()
    assert [file for file, _code in places] == [
        "threadsync/commands.py",
        "worker/db/sessions/sql.py",
        "worker/db/sessions/statements.py",
    ]
    for file, code in places:
        source = (copy / file).read_text()
        if code.startswith("bind("):
            head, begin, rest = source.partition("_BINDINGS: Final[tuple[Binding[Any], ...]] = (\n")
            assert begin
            source = f"{head}{begin}    {code.rstrip()},\n{rest}"
        else:
            source = f"{source}\n\n{code}"
        (copy / file).write_text(source)


def test_a_command_that_is_added_by_the_recipe(installation: Installation, tmp_path: Path) -> None:
    """A command added in three places gives its result to a client of the copy, from a worker of the copy."""
    copy = tmp_path / "copy"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    add(copy)
    with new_pool(installation.database_url) as pool:
        SessionStore(pool).get_or_create_session("C0123ABCD", "1.1", "U1")
        SessionStore(pool).get_or_create_session("C0123ABCD", "2.1", "U1")
    env = {**installation.env, "PYTHONPATH": str(copy)}
    log = tmp_path / "worker.log"
    argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--concurrency", "1"]
    worker = Child(argv, log_path=log, env=env, cwd=copy)
    try:
        wait_until(lambda: log.exists() and " ready." in log.read_text(), "the worker is ready", 60)
        done = subprocess.run(
            [sys.executable, "-c", steps()[1]],
            env=env,
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        worker.kill()
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr

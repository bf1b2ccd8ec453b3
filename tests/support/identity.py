"""The identity of an installation, and its command line."""

from __future__ import annotations

from tests.support.command_runs import run_in
from tests.support.installation import Installation
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection


def identity(installation: Installation) -> str:
    with single_connection(installation.database_url) as connection:
        return str(InstallationStore(connection).get())


def cli(installation: Installation, *words: str) -> tuple[int, str, str]:
    done = run_in(installation.env, *words)
    return done.returncode, done.stdout, done.stderr

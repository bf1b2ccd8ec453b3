"""The identity of an installation, and its command line."""

from __future__ import annotations

import subprocess
import sys

from tests.support.installation import Installation
from tests.support.workers import ROOT
from worker.db.installation.store import InstallationStore
from worker.db.pool import single_connection


def identity(installation: Installation) -> str:
    with single_connection(installation.database_url) as connection:
        return str(InstallationStore(connection).get())


def cli(installation: Installation, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *words],
        env={**installation.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr

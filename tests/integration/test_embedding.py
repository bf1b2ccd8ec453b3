"""A web application that embeds the client and has modules called `tasks`, `worker` and `handlers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.installation import Installation

APPLICATION = """
import tasks, worker
from handlers import greet
from threadsync import SessionClient

with SessionClient() as client:
    session = client.get_or_create("C0123ABC", "1700000000.000100", "U0456").get(timeout=20)
    print(session.outcome, client.get("C0123ABC", "1700000000.000100").get(timeout=20).id == session.id)
print(tasks.MINE, worker.MINE, greet())
"""


def test_an_application_with_tasks_worker_and_handlers_of_its_own(
    shared: Installation, tmp_path: Path
) -> None:
    """An application's own `tasks`, `worker` and `handlers` are imported beside the client, which works."""
    for name in ("tasks", "worker"):
        (tmp_path / f"{name}.py").write_text("MINE = __name__\n")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "__init__.py").write_text("def greet():\n    return 'hello'\n")
    (tmp_path / "application.py").write_text(APPLICATION)
    done = subprocess.run(
        [sys.executable, "application.py"],
        cwd=tmp_path,
        env={"CELERY_BROKER_URL": shared.broker_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["created True", "tasks worker hello"], done.stderr

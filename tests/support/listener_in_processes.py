"""A program that listens to Celery's signals in the pool's processes alone: for workers with `--include`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import task_success, worker_process_init


@worker_process_init.connect(weak=False)
def listen(**_: Any) -> None:
    """Write the id of each command that succeeds to the file ``SEEN``."""
    task_success.connect(_note, weak=False)


def _note(sender: Any = None, **_: Any) -> None:
    with Path(os.environ["SEEN"]).open("a") as seen:
        seen.write(f"{sender.request.id}\n")

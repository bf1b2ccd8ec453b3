"""List of contenders. Each one's tasks and client are in ``benchmarks/contenders/``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PEERS: Final = Path(__file__).parent.parent / ".venv-bench"


@dataclass(frozen=True)
class Entry:
    """A contender's entry.

    ``environment`` is a folder in ``.venv-bench``, None for ours. ``writes``: its commands leave rows;
    ``is_peer``: it is another project's queue that keeps results. ``weight``: the factor on the commands of
    its backlogs, so that each contender's last about as long.
    """

    name: str
    title: str
    target: str
    environment: str | None = None
    writes: bool = True
    is_peer: bool = False
    quick: bool = True
    weight: int = 1

    @property
    def python(self) -> Path:
        """The interpreter that has what the contender needs."""
        return _PEERS / self.environment / "bin" / "python" if self.environment else Path(sys.executable)


def _peer(name: str, target: str, *, keeps_results: bool = True) -> Entry:
    module = f"benchmarks.contenders.{name}:{target}"
    return Entry(name, name, module, environment=name, is_peer=keeps_results)


OURS: Final = Entry("threadsync", "threadsync", "benchmarks.contenders.threadsync:Threadsync", weight=10)
OURS_BY_STOCK_CLIENT: Final = Entry(
    "threadsync-stock-client",
    "threadsync, sent by a stock Celery client",
    "benchmarks.contenders.threadsync:ThreadsyncByStockClient",
    quick=False,
    weight=5,
)
BASELINE: Final = Entry(
    "celery-noop",
    "Celery task that does nothing",
    "benchmarks.contenders.celery_noop:CeleryNoop",
    writes=False,
)
ENTRIES: Final = (
    OURS,
    OURS_BY_STOCK_CLIENT,
    BASELINE,
    Entry(
        "celery-noop-defaults",
        "the same, Celery's defaults",
        "benchmarks.contenders.celery_noop_defaults:CeleryNoopDefaults",
        writes=False,
        quick=False,
    ),
    Entry("celery-upsert", "Celery task with our SQL", "benchmarks.contenders.celery_upsert:CeleryUpsert"),
    _peer("taskiq", "Taskiq"),
    _peer("dramatiq", "Dramatiq"),
    _peer("huey", "Huey"),
    _peer("arq", "Arq"),
    _peer("procrastinate", "Procrastinate", keeps_results=False),
)

OURS_AT_ONCE: Final = Entry(
    "threadsync-at-once",
    "threadsync, 16 asyncio sends at once",
    "benchmarks.contenders.threadsync:ThreadsyncAtOnce",
)
OURS_IN_ONE_CALL: Final = Entry(
    "threadsync-send-many",
    "threadsync, 1,000 in one call of `send_many`",
    "benchmarks.contenders.threadsync:ThreadsyncInOneCall",
)
SENDERS: Final = (
    BASELINE,
    OURS,
    OURS_AT_ONCE,
    OURS_IN_ONE_CALL,
    *(entry for entry in ENTRIES if entry.environment),
)
"""Clients that send in turns while no worker runs."""

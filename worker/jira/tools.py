"""What work on a sync needs: where its state is, where its ticket goes, and a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.db.syncs.store import SyncStore
from worker.jira.client import JiraClient
from worker.jira.target import Target


class Clock(Protocol):
    """Time as this process measures it; ``time`` is one."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """``jitter`` gives 0 to 1, anew each time; it and the clock are there for tests that cannot wait."""

    store: SyncStore
    jira: JiraClient
    target: Target
    jitter: Callable[[], float] = random.random
    clock: Clock = time

"""End or freeze a worker at a step: before or after one of its SQL transactions or calls to Jira."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from worker.db.store import Store

_SENDING: Final = frozenset({"create", "add_comment", "send", "put_remote_link", "remove_remote_link"})
"""Calls of the client that send something for good."""


class Crashed(BaseException):
    """End of the worker's process: nothing after this step happens. No handler in threadsync may catch it."""


@dataclass(frozen=True)
class Interruption:
    """An end or a freeze of the worker, before its ``step``-th step or after it."""

    step: int
    when: Literal["before", "after"]
    kind: Literal["crash", "freeze"]


class Steps:
    """Counter of the steps of one worker's run, which interrupts it at one of them."""

    def __init__(self, interruption: Interruption | None = None) -> None:
        self.count = 0
        self.names: list[str] = []
        self.crashed = False
        self.frozen = threading.Event()
        self._go_on = threading.Event()
        self._interruption = interruption

    def run(self, name: str, call: Callable[[], Any]) -> Any:
        """Make the step ``name`` by ``call``, with the interruption that is planned before or after it."""
        self.count += 1
        self.names.append(name)
        self._interrupt("before", name)
        result = call()
        self._interrupt("after", name)
        return result

    def thaw(self) -> None:
        """Let a frozen worker go on; it is a zombie if another one has taken over meanwhile."""
        self._go_on.set()

    def _interrupt(self, when: str, name: str) -> None:
        planned = self._interruption
        if planned is None or (planned.step, planned.when) != (self.count, when):
            return
        if planned.kind == "freeze" and when == "before" and name in _SENDING:
            # Skipped: microseconds lie between a client's look at the clock and its first byte, and cannot be
            # guarded. A freeze before that look is the same as one after the previous step.
            return
        if planned.kind == "crash":
            self.crashed = True
            raise Crashed
        self.frozen.set()
        self._go_on.wait()


class Interruptible:
    """Proxy that makes a step of every call to a store, a store in it, or a client."""

    def __init__(self, target: Any, steps: Steps) -> None:
        self._target = target
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if isinstance(member, Store):
            return Interruptible(member, self._steps)
        if not callable(member):
            return member
        return lambda *args, **kwargs: self._steps.run(name, lambda: member(*args, **kwargs))

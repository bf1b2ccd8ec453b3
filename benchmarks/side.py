"""Process of a contender: ``python -m benchmarks.side MODULE:CLASS FOLDER``, in its environment.

A line on stdin is a request in JSON, a line on stdout its answer. The other end is ``benchmarks.remote``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import astuple
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TextIO

from benchmarks.contender import Contender
from benchmarks.figures import WARM
from benchmarks.process_tree import cpu_of, memory
from benchmarks.threads import SlackThread, known_threads, threads


class Side:
    """A contender behind a pipe; each public method is a request."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._workers: list[int] = []

    def prepare(self) -> dict[str, Any]:
        self._contender.prepare()
        return {
            "versions": self._contender.versions,
            "results_database": self._contender.results_database,
            "results_prefix": self._contender.results_prefix,
        }

    def enqueue(self, first: int, count: int) -> float:
        """Enqueue commands for new threads; return the seconds that it took."""
        return self._enqueue(threads(first, count))

    def enqueue_known(self, sessions: int, count: int) -> float:
        """Enqueue commands for threads with a session; return the seconds that it took."""
        return self._enqueue(known_threads(sessions, count))

    def start(self) -> None:
        self._workers = self._contender.start()

    def drain(self, total: int, patience: float, servers: dict[str, int]) -> dict[str, Any]:
        """Wait until ``total`` commands have ended; ``patience`` seconds without one are a failure.

        ``servers``: main processes by name, whose CPU time is answered beside the worker's.
        """
        families = {"worker": self._workers, **{name: [pid] for name, pid in servers.items()}}
        samples: list[tuple[float, int]] = []
        warm: tuple[int, dict[str, float]] | None = None
        while not samples or samples[-1][1] < total:
            done, now = self._contender.done(), time.monotonic()
            if not samples or done != samples[-1][1]:
                samples.append((now, done))
            if warm is None and done >= total * WARM:
                warm = done, cpu_of(families)
            if fault := self._contender.fault():
                raise RuntimeError(f"the worker ended:\n{fault}")
            if now - samples[-1][0] > patience:
                raise RuntimeError(f"{done} of {total} ended, and none for {patience:g} s")
            time.sleep(self._contender.poll_seconds)
        assert warm is not None  # noqa: S101 - all are done
        timed, before = max(total - warm[0], 1), warm[1]
        each = {name: (seconds - before[name]) / timed for name, seconds in cpu_of(families).items()}
        return {"samples": samples, "cpu_seconds_each": each}

    def paced(self, first: int, count: int, pace: float) -> list[tuple[str, float, float]]:
        """Send commands at a pace; return each one's key, due time and sending time (``time.monotonic``)."""
        return [astuple(sent) for sent in self._contender.send(threads(first, count), pace)]

    def round_trips(self, first: int, lasting: float) -> dict[str, Any]:
        """Send commands, each one after the result before; return the time of each, and the last result."""
        taken: list[float] = []
        until = time.monotonic() + lasting
        while True:
            (thread,) = threads(first + len(taken), 1)
            began = time.monotonic()
            result = self._contender.ask(thread)
            ended = time.monotonic()
            taken.append(ended - began)
            if ended >= until:
                return {"seconds": taken, "result": result}

    def memory(self) -> list[int]:
        return memory(*self._workers)

    def stop(self) -> None:
        self._contender.stop()

    def _enqueue(self, wanted: list[SlackThread]) -> float:
        began = time.monotonic()
        self._contender.send(wanted)
        return time.monotonic() - began


def serve(side: Side, requests: TextIO, answers: TextIO) -> None:
    """Serve requests until the other end closes the pipe."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(side, request.pop("do"))(**request)}
        # The report names any error that a contender's library raises.
        except Exception as exc:  # noqa: BLE001
            answer = {"fault": f"{type(exc).__name__}: {exc}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    target, folder = sys.argv[1:]
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    side = Side(resolve_name(target)(Path(folder)))
    try:
        serve(side, sys.stdin, answers)
    finally:
        side.stop()


if __name__ == "__main__":
    main()

"""Measure Slack's requests during attacks on their port: ``python -m benchmarks.door [KIND …]``.

Each attack meets a web process of its own, started as ``threadsync up`` starts it, with a shell's limit of
1,024 open files. Attackers run at the lowest priority, as those of another machine would.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Final

import httpx

from sandbox.slack.requests import TEAM_ID, app_mention, signed_request
from worker.http_once import tls_context
from worker.local.child import Child
from worker.local.readiness import answers_http
from worker.local.servers.port import free_port
from worker.local.servers.valkey import EmbeddedValkey

NAMED: Final = {"unsigned": 1_000, "half_a_head": 1_100, "readyz": 300}
"""The attacks named in the promise, with the number of clients."""

SECONDS: Final = 20
_SLACK_WAITS_SECONDS: Final = 3
_PAUSE_SECONDS: Final = 0.1
_SECRET: Final = "of-this-benchmark"  # noqa: S105 - of a server that is gone in a moment
_ROOT: Final = Path(__file__).parent.parent
_WITH_A_SHELLS_LIMIT: Final = ("/bin/sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh")


@dataclass(frozen=True)
class Siege:
    """An attack, with the times and failures of Slack's events, and memory in MB before and at its peak."""

    kind: str
    seconds: list[float]
    failures: list[str]
    idle: float
    peak: float

    @property
    def longest(self) -> float:
        return max(self.seconds, default=0.0)

    def row(self) -> str:
        """Return the attack's row of the table."""
        middle = statistics.median(self.seconds) if self.seconds else 0.0
        cells = (
            self.kind,
            f"{len(self.seconds)}",
            f"{len(self.failures)}",
            f"{middle * 1000:.0f}",
            f"{self.longest * 1000:.0f}",
            f"{self.idle:.0f}",
            f"{self.peak:.0f}",
        )
        return "| " + " | ".join(cells) + " |"


HEAD: Final = (
    "| attack | honest events | not 2xx | p50 ms | longest ms | idle MB | peak MB |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def besiege(kind: str, clients: int, seconds: float, broker_url: str, folder: Path) -> Siege:
    """Attack a new web process for so long, with Slack's events among the attackers."""
    with _web(broker_url, folder / f"web-{kind}.log") as (child, port):
        events = (_event(number) for number in range(1_000_000))
        # Modules and connections of the first request are not memory of the attack.
        for _ in range(5):
            _deliver(port, next(events))
        idle = memory_of(child.pid, "VmRSS")
        attack = _attack(kind, port, clients, seconds)
        try:
            taken, failures = [], []
            while attack.poll() is None:
                began = time.monotonic()
                fault = _deliver(port, next(events))
                taken.append(time.monotonic() - began)
                failures += [fault] if fault else []
                time.sleep(_PAUSE_SECONDS)
        finally:
            attack.kill()
            attack.wait()
        return Siege(kind, taken, failures, idle, memory_of(child.pid, "VmHWM"))


def memory_of(pid: int, field: str) -> float:
    """Return a process's memory in MB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def _web(broker_url: str, log: Path) -> Iterator[tuple[Child, int]]:
    port = free_port()
    env = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "CELERY_BROKER_URL": broker_url,
        "SLACK_SIGNING_SECRET": _SECRET,
        "SLACK_BOT_TOKEN": "xoxb-nowhere",
        "SLACK_TEAM_ID": TEAM_ID,
        # No reply reaches Slack from here, and auth.test gets no response.
        "SLACK_API_URL": "http://127.0.0.1:1/api/",
    }
    argv = [*_WITH_A_SHELLS_LIMIT, sys.executable, "-m", "handlers.serve", "--port", str(port)]
    child = Child(argv, log_path=log, env=env, cwd=log.parent)
    try:
        while not answers_http(f"http://127.0.0.1:{port}/healthz"):
            if child.poll() is not None:
                raise RuntimeError(f"the web process ended:\n{child.log_tail()}")
            time.sleep(0.05)
        yield child, port
    finally:
        if not child.stop(SIGTERM, 10):
            child.kill()


def _attack(kind: str, port: int, clients: int, seconds: float) -> subprocess.Popen[bytes]:
    argv = [
        sys.executable,
        "-m",
        "benchmarks.flood",
        kind,
        "127.0.0.1",
        str(port),
        str(clients),
        str(seconds),
    ]
    return subprocess.Popen(argv, cwd=_ROOT)


def _event(number: int) -> tuple[bytes, dict[str, str]]:
    mention = app_mention("C0123", "U0456", "hi", ts=f"1700000000.{number:06}")
    request = signed_request(_SECRET, mention)
    return request.body, dict(request.headers)


def _deliver(port: int, event: tuple[bytes, dict[str, str]]) -> str | None:
    """Send an event as Slack does; return the response's fault, or None."""
    body, headers = event
    url = f"http://127.0.0.1:{port}/slack/events"
    try:
        answer = httpx.post(
            url, content=body, headers=headers, timeout=_SLACK_WAITS_SECONDS, verify=tls_context()
        )
    except httpx.HTTPError as exc:
        return type(exc).__name__
    return None if answer.is_success else str(answer.status_code)


def main() -> None:
    """Print a row for each attack; those of the promise if none is named."""
    kinds = sys.argv[1:] or list(NAMED)
    print(HEAD, flush=True)  # noqa: T201 - what it is for
    with tempfile.TemporaryDirectory(prefix="threadsync-door-") as name:
        valkey = EmbeddedValkey(Path(name) / "valkey", log_path=Path(name) / "valkey.log")
        valkey.start()
        try:
            for kind in kinds:
                siege = besiege(kind, NAMED.get(kind, 1_000), SECONDS, valkey.url, Path(name))
                print(siege.row(), flush=True)  # noqa: T201
        finally:
            valkey.stop()


if __name__ == "__main__":
    main()

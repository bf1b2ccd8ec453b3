"""Count a worker's work for Prometheus: each process by itself; the main process serves the sum.

Without ``METRICS_PORT`` a call here does nothing, and ``prometheus_client`` is not imported.
The client's multi-process mode keeps each process's numbers in a file:
https://prometheus.github.io/client_python/multiprocess/

No label holds an id, a channel, or words of a person.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from threadsync.broker.clocks import SENT_AT, broker_time

_FOLDER: Final = "threadsync-metrics-"
_AGAIN_SECONDS: Final = 5
_LONGEST_WAIT_SECONDS: Final = 30 * 86_400
_COMMAND_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PREVENTED: Final = frozenset({"unchanged", "stale"})

log = structlog.get_logger("threadsync.metrics")


class Counters:
    """Metrics of one worker. Made in the main process, before its children, which inherit it."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, values

        # Looked up again: the library did so at its import, which the `celery` command causes for Flower.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        # Only to count: another registry serves the metrics from the files.
        registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def seconds(name: str, text: str, label: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, (label,), buckets=buckets, registry=registry)

        self.commands = counter("threadsync_commands", "Commands by outcome", "command", "outcome")
        self.command_seconds = seconds(
            "threadsync_command_seconds", "From being sent to being committed", "command", _COMMAND_SECONDS
        )
        self.prevented = counter(
            "threadsync_duplicates_prevented",
            "Repeated commands, and tickets that were found instead of made again",
            "kind",
        )
        self.dead_letters = counter("threadsync_dead_letters", "Messages parked for good", "command")
        self.results_lost = counter(
            "threadsync_results_lost", "Results that could not be stored, of commands that have ended"
        )
        self.jira_requests = counter(
            "threadsync_jira_requests", "Requests to Jira by outcome", "request", "answer"
        )
        self.jira_seconds = seconds(
            "threadsync_jira_request_seconds",
            "From a request to Jira to its whole response",
            "request",
            _REQUEST_SECONDS,
        )
        self.ambiguous = counter(
            "threadsync_ambiguous_creates", "Creates that may have made a ticket, without a response"
        )
        self.ambiguous_ended = counter(
            "threadsync_ambiguous_creates_ended", "Outcomes of such creates", "end"
        )
        self.steps_given_up = counter(
            "threadsync_ticket_steps_given_up",
            "Steps after a ticket that were given up; step unlink is of a ticket that was taken off",
            "step",
            "reason",
        )


_counters: Counters | None = None


def command_ended(command: str, outcome: str, headers: Mapping[str, Any] | None) -> None:
    """Count a command that was carried out, has failed for good, or waits to run again.

    Args:
        outcome: ``created | applied | unchanged | stale``, ``ok`` if it has none, ``failed``, ``waits``.
        headers: of the message; ``SENT_AT`` is in them.
    """
    if _counters is None:
        return
    _counters.commands.labels(command, outcome).inc()
    if outcome in _PREVENTED:
        _counters.prevented.labels("command").inc()
    sent_at = (headers or {}).get(SENT_AT)
    if outcome not in ("failed", "waits") and isinstance(sent_at, int | float):
        # Both by the broker's clock, as far as each process knows it. Anybody may write anything there.
        seconds = broker_time() - sent_at
        if seconds <= _LONGEST_WAIT_SECONDS:
            _counters.command_seconds.labels(command).observe(max(0.0, seconds))


def message_buried(command: str) -> None:
    """Count a dead letter. ``command`` must be a name of ours: a stranger may send any other."""
    if _counters is not None:
        _counters.dead_letters.labels(command).inc()


def results_lost(count: int) -> None:
    """Count results that could not be stored, of commands that have ended."""
    if _counters is not None:
        _counters.results_lost.inc(count)


def jira_answered(request: str, answer: str, seconds: float) -> None:
    """Count a request to Jira. ``answer``: ``ok``, or the name of a class in ``worker.jira.answers``."""
    if _counters is not None:
        _counters.jira_requests.labels(request, answer).inc()
        _counters.jira_seconds.labels(request).observe(seconds)


def ticket_found() -> None:
    """Count a ticket that was there already, and is not made again."""
    if _counters is not None:
        _counters.prevented.labels("ticket").inc()


def create_in_doubt() -> None:
    """Count a create that may have made a ticket; it is looked for from now on."""
    if _counters is not None:
        _counters.ambiguous.inc()


def doubt_ended(end: str) -> None:
    """Count a create that is no longer in doubt: ``found``, ``absent``, or ``review`` by an operator."""
    if _counters is not None:
        _counters.ambiguous_ended.labels(end).inc()


def step_given_up(step: str, reason: str) -> None:
    """Count a step after a ticket that will not be carried out; ``reason`` is a code of ours."""
    if _counters is not None:
        _counters.steps_given_up.labels(step, reason).inc()


class MetricsEndpoint:
    """Serve the worker's ``/metrics``: ``open`` before the pool is started, ``close`` at the end."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._folder: Path | None = None
        self._closed = threading.Event()

    def open(self) -> None:
        """Begin to count, and to listen once the port is free: the previous worker may be draining."""
        global _counters
        _remove_left_behind()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder)
        _counters = Counters()
        threading.Thread(target=self._listen, name="threadsync-metrics", daemon=True).start()

    def close(self) -> None:
        """Stop, and delete the counts, as Prometheus expects of a process that ends."""
        self._closed.set()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        from worker.observe.metrics_server import serve_metrics

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        host, port = self._address
        waiting = False
        while not self._closed.is_set():
            try:
                server, _ = serve_metrics(port, host, registry)
            except OSError as exc:
                if not waiting:
                    log.warning("metrics wait for their port", host=host, port=port, reason=str(exc))
                waiting = True
                self._closed.wait(_AGAIN_SECONDS)
            else:
                log.info("metrics are shown", host=host, port=port)
                self._closed.wait()
                server.shutdown()
                server.server_close()


def _remove_left_behind() -> None:
    """Remove folders of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        with suppress(OSError):
            if pid.isdigit() and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)

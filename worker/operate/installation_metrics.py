"""Export metrics of the whole installation to Prometheus: one process asks Postgres and the broker.

Single processes count by ``worker.observe.metrics``. No metric has an id, a channel or a name of a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final

import structlog
from celery import Celery
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from threadsync.errors import BrokerUnavailable, DatabaseUnavailable
from threadsync.liveness.fields import freshest
from threadsync.liveness.heartbeats import channel_of, look
from threadsync.liveness.state import Heartbeats
from threadsync.liveness.verdicts import two_databases
from worker.db.overview.store import OverviewStore
from worker.db.pool import Pool
from worker.operate.memory import Memory, memory_of

_MOST_SERIES: Final = 100
"""Most series of one metric, the freshest: names come from the broker, where a forger may write thousands."""

log = structlog.get_logger("threadsync.metrics")


class InstallationCollector(Collector):
    """Collector that asks Postgres and broker at each scrape; if one is away, its ``threadsync_up`` is 0."""

    def __init__(self, pool: Pool, app: Celery, token_expires: date | None = None) -> None:
        self._counts = OverviewStore(pool)
        self._app = app
        self._token_expires = token_expires

    def collect(self) -> Iterator[Metric]:
        up = _gauge("threadsync_up", "1 if it responds", ("what",))
        try:
            yield from self._of_database()
            up.add_metric(["database"], 1)
        except DatabaseUnavailable as exc:
            log.warning("database not asked", reason=str(exc))
            up.add_metric(["database"], 0)
        try:
            heartbeats, memory = heartbeats_and_memory(self._app)
            up.add_metric(["broker"], 1)
            yield from _of_memory(memory) if memory else ()
            yield from _of_broker(heartbeats) if heartbeats else ()
        except BrokerUnavailable as exc:
            log.warning("broker not asked", reason=str(exc))
            up.add_metric(["broker"], 0)
        yield up
        yield _of_login(self._token_expires)

    def describe(self) -> Iterator[Metric]:
        """Name no metrics: a registry would otherwise collect once to know them."""
        yield from ()

    def _of_database(self) -> Iterator[Metric]:
        counts = self._counts.counts()
        yield _by("threadsync_sessions", "Sessions by status", "status", counts.sessions)
        yield _by("threadsync_syncs", "Syncs by state", "state", counts.syncs)
        yield _by(
            "threadsync_dead_letters",
            "Dead letters by state; dead ones are to be settled",
            "state",
            counts.dead_letters,
        )
        yield _one(
            "threadsync_jira_sites_in_trouble",
            "Jira sites that refuse us; their syncs are parked (the breaker is open)",
            counts.sites_in_trouble,
        )
        yield _one(
            "threadsync_slack_in_trouble",
            "1 while Slack refuses our token; status messages are parked",
            counts.slack_in_trouble,
        )
        yield _by(
            "threadsync_status_messages",
            "Status messages that are out of date: not sent yet (unsaid), or refused by Slack",
            "state",
            {"unsaid": counts.unsaid, "refused": counts.refused},
        )
        yield _one(
            "threadsync_sync_oldest_due_seconds",
            "Time for which the most overdue sync has been due",
            counts.oldest_due_seconds,
        )


def registry_of(pool: Pool, app: Celery, token_expires: date | None = None) -> CollectorRegistry:
    """Return the metrics of an installation; ``token_expires`` is the day on which its login to Jira ends."""
    registry = CollectorRegistry()
    registry.register(InstallationCollector(pool, app, token_expires))
    return registry


def _of_login(ends: date | None) -> Metric:
    """Return the moment from which the login counts as over: the day's beginning, in UTC."""
    family = _gauge(
        "threadsync_jira_token_expires_timestamp_seconds",
        "When JIRA_TOKEN_EXPIRES says that the login to Jira ends, since 1970; +Inf where it is not set",
        (),
    )
    moment = datetime.combine(ends, time.min, UTC).timestamp() if ends else math.inf
    family.add_metric([], moment)
    return family


def heartbeats_and_memory(app: Celery) -> tuple[Heartbeats | None, Memory | None]:
    """Ask the broker for heartbeats and memory over one connection. Raises ``BrokerUnavailable``."""
    with channel_of(app) as found:
        if isinstance(found, Heartbeats):
            return found, None
        return look(found), memory_of(found)


def _of_memory(memory: Memory) -> Iterator[Metric]:
    yield _one("threadsync_broker_memory_bytes", "Memory that counts towards the broker's limit", memory.used)
    yield _one(
        "threadsync_broker_memory_limit_bytes", "The broker's maxmemory; 0 if it has none", memory.limit
    )
    if memory.share is not None:
        yield _one(
            "threadsync_broker_memory_share",
            "The used part of maxmemory, else of the machine's memory; above 1 it refuses commands",
            memory.share,
        )


def _of_broker(heartbeats: Heartbeats) -> Iterator[Metric]:
    yield _one(
        "threadsync_broker_refuses",
        "1 while the broker takes no new message: memory, disk, replicas, loading",
        1.0 if heartbeats.refusal else 0.0,
    )
    if not heartbeats.is_blind:
        yield from _of_heartbeats(heartbeats)


def _of_heartbeats(heartbeats: Heartbeats) -> Iterator[Metric]:
    yield _by(
        "threadsync_queue_waiting",
        "Messages that no worker has taken",
        "queue",
        {queue: waiting.messages for queue, waiting in heartbeats.queues.items()},
    )
    yield _by(
        "threadsync_queue_later",
        "Messages to be delivered later, in the broker. RabbitMQ does not tell them by queue",
        "queue",
        {queue: waiting.later for queue, waiting in heartbeats.queues.items() if waiting.later is not None},
    )
    yield _by(
        "threadsync_queue_oldest_seconds",
        "Since the oldest waiting message was sent; 0 when none waits",
        "queue",
        # Without queues whose oldest message does not say when it was sent: 0 would be wrong.
        {
            queue: waiting.oldest_seconds or 0.0
            for queue, waiting in heartbeats.queues.items()
            if waiting.oldest_seconds is not None or not waiting.messages
        },
    )
    yield _one(
        "threadsync_queue_unacknowledged", "Messages that workers have taken", heartbeats.unacknowledged
    )
    yield _one(
        "threadsync_signs_unreadable",
        "Fields among the heartbeats that were not ours, within the last hour",
        heartbeats.unreadable,
    )
    canaries = freshest(heartbeats.canaries, _MOST_SERIES, float)
    yield _by("threadsync_canary_age_seconds", "Since a canary came out of the queue", "queue", canaries)
    workers = freshest(heartbeats.workers, _MOST_SERIES, lambda worker: float(worker.seconds))
    yield _by(
        "threadsync_worker_silence_seconds",
        "Since the worker's main process reported",
        "worker",
        {node: worker.seconds for node, worker in workers.items()},
    )
    skew = _gauge(
        "threadsync_clock_skew_seconds",
        "Seconds by which the process's clock is ahead of another's; negative: behind",
        ("process", "whose"),
    )
    for name, told in freshest(heartbeats.skews, _MOST_SERIES, lambda skew: -abs(skew.largest)).items():
        for whose, seconds in (("broker", told.broker), ("database", told.database)):
            if seconds is not None:
                skew.add_metric([name, whose], seconds)
    yield skew
    yield _one(
        "threadsync_two_databases",
        "1 if workers of this broker write to two databases",
        bool(two_databases(heartbeats)),
    )
    yield _by(
        "threadsync_socket_silence_seconds",
        "Since Slack said anything to a process of Socket Mode",
        "process",
        freshest(heartbeats.sockets, _MOST_SERIES, float),
    )
    if heartbeats.beat is not None:
        yield _one("threadsync_beat_silence_seconds", "Since beat sent its canaries", heartbeats.beat)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _by(name: str, text: str, label: str, values: Mapping[str, Any]) -> GaugeMetricFamily:
    family = _gauge(name, text, (label,))
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)

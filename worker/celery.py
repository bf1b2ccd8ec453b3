"""The Celery app. ``celery -A worker worker`` finds it, and so does Flower.

A message is acknowledged after its command ended, so whatever dies before that is delivered again. How
soon: docs/delivery.md. Every setting below is there because Celery's default would lose a message, run it
for ever, or wait for ever.
"""

from __future__ import annotations

import gc
import logging
import os
from contextlib import suppress
from typing import Any, Final

import redis
from celery import Celery, bootsteps, signals
from celery.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

from worker.config import Settings, get_settings
from worker.connection import verified_tls
from worker.hearing import CANARY_SECONDS
from worker.logs import configure_logging
from worker.metrics import MetricsEndpoint
from worker.report import Report
from worker.signs import QUEUES, beat_sent_canaries
from worker.tracing import check_tracing, start_tracing, stop_tracing

VISIBILITY_TIMEOUT_SECONDS: Final = 10
"""After this long without a word from the worker that has it, a message goes to another one."""

SOFT_TIME_LIMIT_SECONDS: Final = 6
TIME_LIMIT_SECONDS: Final = 8
"""Below the visibility timeout, so that also with kombu's own channel nothing runs in two places."""

SWEEP_SECONDS: Final = 2
"""How often syncs are looked for that are due and that no message is on its way for."""

SAMPLE_SECONDS: Final = 30
"""How often it is noted what waits in each queue."""

CANARY: Final = "maintenance.canary"
SAMPLE: Final = "maintenance.sample"

_GARBAGE_THRESHOLDS: Final = (10_000, 20, 20)
"""Objects made before the collector looks at the young ones; Python's 700 cost 3% of a busy worker."""

_WORKER_SOCKETS: Final = {
    # A half-open connection is noticed in 10 to 16 s; with the defaults a worker hung for over 150 s.
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 5,
}


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings. Raises ``InvalidSettings`` when there is no broker."""
    if settings.broker_url is None:
        settings.require("celery_broker_url")
    _respell_environment(settings)
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": _transport_options(settings),
        **verified_tls(settings.broker_url or ""),
        # A hundred tries, then the worker gives up and stays deaf: never give up.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # A broker that refuses (a replica, a full disk) is waited for like one that is away.
        "broker_channel_error_retry": True,
        # The reduced prefetch count after a reconnect is not always given back.
        "worker_enable_prefetch_count_reduction": False,
        # A command runs for milliseconds: let it end, its repetition does no harm.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "include": [
            "tasks.sessions",
            "tasks.channels",
            "tasks.syncs",
            "tasks.announcements",
            "tasks.maintenance",
        ],
        # Only data travels: nobody who can write to the broker can run code here.
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        # The queue is part of the contract with stock Celery clients.
        "task_default_queue": "sessions",
        # Each with an exchange of its own: else Celery binds them all to the first one's.
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_routes": {
            "syncs.sweep": {"queue": "maintenance"},
            "syncs.announce": {"queue": "maintenance"},
            "syncs.*": {"queue": "syncs"},
            "maintenance.*": {"queue": "maintenance"},
        },
        "beat_schedule": _beat_schedule(),
        # At least once: acknowledge when a command has ended, hand it back when its process died.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # A time-out hands the message back too. A failure is a dead letter by then, and so is dropped.
        "task_acks_on_failure_or_timeout": False,
        "task_soft_time_limit": SOFT_TIME_LIMIT_SECONDS,
        "task_time_limit": TIME_LIMIT_SECONDS,
        # Two batches a process: one runs, one is on its way.
        "worker_prefetch_multiplier": 64,
        # On QUIT, and on a second Ctrl-C, what runs gets this long; everything else goes back at once.
        "worker_soft_shutdown_timeout": TIME_LIMIT_SECONDS,
        "worker_enable_soft_shutdown_on_idle": True,
        # Flower sees sent, received, started and succeeded, each with its time.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Broken junk, unknown names and time-outs leave dead letters: worker/consumer.py.
        "worker_consumer": "worker.consumer:DurableConsumer",
        # What its processes have outlives the connection to the broker: worker/prefork.py.
        "worker_pool": "worker.prefork:DurableTaskPool",
        "result_backend": settings.result_backend_url,
        "result_expires": settings.result_ttl_seconds,
        # Losing a result is better than a worker that waits for ever with the effect done.
        "redis_socket_timeout": 5,
        "redis_socket_connect_timeout": 3,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 5,
        "result_backend_always_retry": False,
        "result_backend_transport_options": {
            "retry_policy": {"max_retries": 3, "timeout": 3.0},
            **settings.celery_broker_transport_options,
        },
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


def _beat_schedule() -> dict[str, Any]:
    """Any number of beats may run. What nobody took in time is not needed: the next one is there."""

    def every(seconds: float, task: str, **options: Any) -> dict[str, Any]:
        return {"task": task, "schedule": seconds, "options": {"expires": 5 * seconds}, **options}

    canaries = {
        f"canary-{queue}": {
            **every(CANARY_SECONDS, CANARY, args=[queue]),
            "options": {"queue": queue, "expires": 120},
        }
        for queue in QUEUES
    }
    return {"sweep": every(SWEEP_SECONDS, "syncs.sweep"), "sample": every(SAMPLE_SECONDS, SAMPLE), **canaries}


def _respell_environment(settings: Settings) -> None:
    """Celery reads these two by itself, before any setting of ours, and knows no ``valkey://``."""
    respelt = {"CELERY_BROKER_URL": settings.broker_url, "CELERY_RESULT_BACKEND": settings.result_backend_url}
    for name, url in respelt.items():
        if os.environ.get(name) and url:
            os.environ[name] = url


def _transport_options(settings: Settings) -> dict[str, Any]:
    if not settings.broker_is_redis:
        # RabbitMQ redelivers by itself when a connection ends; a publish must be confirmed to be kept.
        return {"confirm_publish": True}
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        # Look for overdue messages every second; the defaults look every hundred.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # For stock workers beside ours: one that dies while it restores blocks the others this long.
        "unacked_mutex_expire": 5,
        **_WORKER_SOCKETS,
        **settings.celery_broker_transport_options,
    }


# Read when the first setting is asked for: importing this module needs no environment.
app = Celery("threadsync", task_cls="worker.task:DurableTask", amqp="worker.connection:DurableAMQP")
# Celery's way to have a backend of one's own for a URL.
app.loader.override_backends = {
    "redis": "worker.results:GatheringBackend",
    "rediss": "worker.results:GatheringBackend",
}
app.add_defaults(lambda: configuration(get_settings()))


class _NeededSettings(bootsteps.Step):
    """A worker without a database could neither run a command nor keep it: it does not start."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        get_settings().require("broker_url", "database_url")
        check_tracing(get_settings())


class _KnownPool(bootsteps.Step):
    """Other pools take as many commands as they have places and then none, or run several in one process."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        pool = f"{parent.pool_cls.__module__}:{parent.pool_cls.__qualname__}"
        if pool == "celery.concurrency.solo:TaskPool":
            logging.getLogger("threadsync.worker").warning(
                "pool solo is for debugging: a command has no time limit, and one that ends its process "
                "ends the worker"
            )
        elif pool != "worker.prefork:DurableTaskPool":
            raise ImproperlyConfigured(
                f"pool {pool} is not supported: take prefork (the default), or solo for debugging"
            )


app.steps["worker"].add(_NeededSettings)
app.steps["worker"].add(_KnownPool)
app.steps["consumer"].add(Report)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(loglevel: int | str | None = None, logfile: str | None = None, **_: object) -> None:
    settings = get_settings()
    asked_for = logging.getLevelNamesMapping()[settings.log_level]
    level = min(asked_for, loglevel) if isinstance(loglevel, int) else asked_for
    configure_logging(level, settings.log_format, logfile)


@signals.worker_init.connect(weak=False)
def _begin_to_count(**_: object) -> None:
    settings = get_settings()
    if settings.metrics_port:
        endpoint = MetricsEndpoint(settings.metrics_host, settings.metrics_port)
        endpoint.open()
        signals.worker_shutdown.connect(lambda **_: endpoint.close(), weak=False)


@signals.beat_init.connect(weak=False)
def _prepare_beat(sender: Any, **_: object) -> None:
    # Flower would show little else than what beat sends every few seconds.
    sender.app.conf.task_send_sent_event = False
    signals.after_task_publish.connect(_say_that_beat_sends, sender=CANARY)


def _say_that_beat_sends(**_: object) -> None:
    # The broker took the canary just now; if it is away again, beat will find out by itself.
    with suppress(KombuError, redis.RedisError, OSError), app.connection_for_write() as connection:
        beat_sent_canaries(connection.default_channel)


@signals.worker_before_create_process.connect(weak=False)
def _keep_what_is_loaded(**_: object) -> None:
    """Modules stay for good: children share their memory, and the garbage collector need not look at them."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)


@signals.worker_process_init.connect(weak=False)
def _begin_to_trace(**_: object) -> None:
    start_tracing(get_settings(), "worker")


@signals.worker_process_shutdown.connect(weak=False)
def _end_process(**_: object) -> None:
    from worker.db import close_db

    close_db()
    stop_tracing()

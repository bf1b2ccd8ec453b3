"""The Celery app. ``celery -A worker worker`` finds it, and so does Flower.

A message is acknowledged after its command ended: if its worker dies before that, it is delivered again.
Each setting is there because Celery's default would lose a message, run it for ever, or wait for ever.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from threadsync.extras import need_extra

need_extra("worker", "celery", "psycopg", "httpx", "structlog")

from celery import signals
from celery.exceptions import Reject
from kombu import Exchange, Queue

from threadsync.broker.errors import BROKER_ERRORS
from threadsync.broker.installation import OthersBroker
from threadsync.broker.options import broker_options, result_options
from threadsync.config import Settings, get_settings
from threadsync.errors import InvalidSettings
from threadsync.liveness.heartbeats import beat_sent_canaries
from threadsync.queues import QUEUES
from worker.durable.beat import CANARY_TASK, beat_schedule
from worker.durable.decompression import bound_decompression
from worker.durable.heartbeat import Heartbeat
from worker.durable.large_buffers import give_large_buffers_back
from worker.durable.limits import (
    RESULT_SECONDS,
    SEND_SECONDS,
    SOFT_TIME_LIMIT_SECONDS,
    TIME_LIMIT_SECONDS,
    VISIBILITY_TIMEOUT_SECONDS,
)
from worker.durable.rabbitmq.transport import HEARTBEAT_SECONDS
from worker.durable.results import WorkersCelery
from worker.durable.startup import KnownPool, NeededSettings
from worker.observe.last_words import InASentence
from worker.observe.logs import configure_logging
from worker.observe.metrics import MetricsEndpoint
from worker.observe.tracing import start_tracing, stop_tracing

_GARBAGE_THRESHOLDS: Final = (10_000, 20, 20)
"""Objects made before the collector looks at the young ones; Python's 700 cost 3% of a busy worker."""

_DELIVERY: Final = {
    "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
    # Look for overdue messages every second; the defaults look every hundred.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # For stock workers beside ours: one that dies while restoring messages blocks the others this long.
    "unacked_mutex_expire": 5,
}
"""Options of Valkey and Redis. RabbitMQ redelivers by itself when a connection ends."""

_RESULT_RETRY: Final = {"max_retries": 1, "timeout": RESULT_SECONDS}


def configuration(settings: Settings) -> dict[str, Any]:
    """Return Celery's settings. Raises ``InvalidSettings`` when there is no broker."""
    if settings.broker_url is None:
        settings.require("celery_broker_url")
    _respell_environment(settings)
    return {
        **_broker_options(settings),
        # A hundred tries, then the worker gives up and stays deaf: never give up.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # A broker that refuses (a replica, a full disk) is waited for like one that is away.
        "broker_channel_error_retry": True,
        # RabbitMQ: a worker that is silent for twice as long loses its messages to the others.
        "broker_heartbeat": HEARTBEAT_SECONDS,
        # The reduced prefetch count after a reconnect is not always given back.
        "worker_enable_prefetch_count_reduction": False,
        # A command runs for milliseconds: let it end, its repetition does no harm.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "include": [
            "tasks.commands",
            "tasks.syncs",
            "tasks.ticket_steps",
            "tasks.lookups",
            "tasks.announcements",
            "tasks.maintenance",
            "tasks.forgetting",
            "tasks.replies",
            "tasks.loading",
        ],
        # Only data travels: a program that can write to the broker can run no code here.
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
            "syncs.draft": {"queue": "lookups"},
            "syncs.*": {"queue": "syncs"},
            "jira.*": {"queue": "lookups"},
            "maintenance.*": {"queue": "maintenance"},
        },
        "beat_schedule": beat_schedule(),
        # A message that no worker took is not sent again and again, whatever the clocks: durable/beat.py.
        "beat_scheduler": "worker.durable.beat:SteadyScheduler",
        # At least once: acknowledge when a command has ended, hand it back when its process died.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # A time-out hands the message back too. A failure is a dead letter by then, and so is dropped.
        "task_acks_on_failure_or_timeout": False,
        "task_soft_time_limit": SOFT_TIME_LIMIT_SECONDS,
        "task_time_limit": TIME_LIMIT_SECONDS,
        # Two batches a process: one runs, one is on its way.
        "worker_prefetch_multiplier": 64,
        # On QUIT, and on a second Ctrl-C, running commands get this long; all others go back at once.
        "worker_soft_shutdown_timeout": TIME_LIMIT_SECONDS,
        "worker_enable_soft_shutdown_on_idle": True,
        # Flower sees sent, received, started and succeeded, each with its time.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Broken junk, unknown names and time-outs leave dead letters: worker/durable/consumer.py.
        "worker_consumer": "worker.durable.consumer:DurableConsumer",
        # Its processes' jobs outlive the connection to the broker: worker/durable/pool.py.
        "worker_pool": "worker.durable.pool:DurableTaskPool",
        # Losing a result is better than a command that is killed with its effect done: what waits for the
        # backend from the soft time limit on must be over before the hard one.
        **_result_options(settings),
        "result_expires": settings.result_ttl_seconds,
        "result_backend_always_retry": False,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


def _respell_environment(settings: Settings) -> None:
    """Respell two variables in the environment: Celery reads them first, and knows no ``valkey://``."""
    respelt = {"CELERY_BROKER_URL": settings.broker_url, "CELERY_RESULT_BACKEND": settings.result_backend_url}
    for name, url in respelt.items():
        if os.environ.get(name) and url:
            os.environ[name] = url


def _broker_options(settings: Settings) -> dict[str, Any]:
    options = broker_options(settings.broker_url or "", settings, "worker")
    if settings.broker_is_redis:
        options["broker_transport_options"] = {**_DELIVERY, **options["broker_transport_options"]}
    return options


def _result_options(settings: Settings) -> dict[str, Any]:
    options = result_options(settings.result_backend_url, settings, "worker")
    chosen = options.get("result_backend_transport_options", {})
    return {
        **options,
        "redis_socket_timeout": RESULT_SECONDS,
        "redis_socket_connect_timeout": RESULT_SECONDS,
        "result_backend_transport_options": {"retry_policy": _RESULT_RETRY, **chosen},
    }


_LAST_WORDS: Final = InASentence((InvalidSettings, OthersBroker), (Reject,))
_LAST_WORDS.watch_the_end()
# Read when the first setting is asked for: importing this module needs no environment.
app = WorkersCelery(
    "threadsync", task_cls="worker.durable.task:DurableTask", amqp="worker.durable.connection:DurableAMQP"
)
app.add_defaults(lambda: configuration(get_settings()))

app.steps["worker"].add(NeededSettings)
app.steps["worker"].add(KnownPool)
app.steps["consumer"].add(Heartbeat)


@signals.setup_logging.connect(weak=False)
def _set_up_logging(loglevel: int | str | None = None, logfile: str | None = None, **_: object) -> None:
    settings = get_settings()
    asked_for = logging.getLevelNamesMapping()[settings.log_level]
    level = min(asked_for, loglevel) if isinstance(loglevel, int) else asked_for
    configure_logging(level, settings.log_format, logfile, _LAST_WORDS)


@signals.worker_init.connect(weak=False)
def _bound_what_is_read(**_: object) -> None:
    bound_decompression()
    give_large_buffers_back()


@signals.worker_init.connect(weak=False)
def _quote_no_error(**_: object) -> None:
    # An error of what is to follow a command, say; Celery logs it by itself, too.
    warnings.filterwarnings("ignore", "Exception raised outside body", RuntimeWarning)


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
    signals.after_task_publish.connect(_say_that_beat_sends, sender=CANARY_TASK)


def _say_that_beat_sends(**_: object) -> None:
    # The broker took the canary just now; if it is away again, beat will find out by itself.
    # From the pool: RabbitMQ notes each connection that is opened in its log.
    with suppress(*BROKER_ERRORS), app.connection_or_acquire() as connection:
        beat_sent_canaries(connection.default_channel)


@signals.worker_before_create_process.connect(weak=False)
def _keep_what_is_loaded(**_: object) -> None:
    """Freeze the loaded modules: children share their memory, and the garbage collector skips them."""
    if not gc.get_freeze_count():
        # Python would load it in each process, at the first connection.
        import_module("encodings.idna")
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)


@signals.worker_process_init.connect(weak=False)
def _send_within_the_time_limit(**_: object) -> None:
    """Shorten the broker's time-outs in a child: a command that sends has less time than the main process."""
    app.conf.task_publish_retry_policy = {**app.conf.task_publish_retry_policy, "max_retries": 1}
    settings = get_settings()
    # A replica, or a quorum, may take longer.
    if settings.broker_is_redis and not settings.broker_wait_replicas:
        options = app.conf.broker_transport_options
        limits = ("socket_timeout", "socket_connect_timeout")
        shorter = {name: min(options[name], SEND_SECONDS) for name in limits if options.get(name)}
        app.conf.broker_transport_options = {**options, **shorter}


@signals.worker_process_init.connect(weak=False)
def _begin_to_trace(**_: object) -> None:
    start_tracing(get_settings(), "worker")


@signals.worker_process_shutdown.connect(weak=False)
def _end_process(**_: object) -> None:
    from worker.db import close_db

    close_db()
    stop_tracing()

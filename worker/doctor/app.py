"""A Celery app of these settings alone: the process's own has those that it first saw."""

from __future__ import annotations

from celery import Celery

from threadsync.config import Settings


def app_of(settings: Settings) -> Celery:
    """With the worker's configuration. Raises ``InvalidSettings`` when there is no broker."""
    from worker.celery import configuration

    app = Celery("threadsync-doctor", amqp="worker.durable.connection:DurableAMQP", set_as_current=False)
    app.conf.update(configuration(settings))
    return app

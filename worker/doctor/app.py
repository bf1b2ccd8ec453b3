"""A Celery app for given settings: the process's own keeps those that it first read."""

from __future__ import annotations

from celery import Celery

from threadsync.config import Settings


def app_of(settings: Settings) -> Celery:
    """Build an app with the worker's configuration. Raises ``InvalidSettings`` when there is no broker."""
    from worker.celery import configuration

    app = Celery("threadsync-doctor", amqp="worker.durable.connection:DurableAMQP", set_as_current=False)
    app.conf.update(configuration(settings))
    return app

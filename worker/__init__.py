"""The worker process: Celery app, settings, database layer and command line."""

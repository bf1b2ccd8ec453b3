"""``threadsync metrics``."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

_LOOK_SECONDS: Final = 0.2


def metrics(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on.", show_default="METRICS_HOST")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 9464,
) -> None:
    """Serve metrics of the whole installation at /metrics until Ctrl-C; one process is enough.

    It asks Postgres and the broker on each scrape. Workers serve their own counters at METRICS_PORT.
    """
    from threadsync.config import get_settings
    from threadsync.errors import InvalidSettings
    from worker.celery import app as celery
    from worker.cli.stop_request import StopRequest
    from worker.db.pool import new_pool
    from worker.observe.logs import configure_logging
    from worker.observe.metrics_server import serve_metrics
    from worker.operate.installation_metrics import registry_of

    settings = get_settings()
    settings.require("broker_url", "database_url")
    host = host or settings.metrics_host
    configure_logging(settings.log_level, settings.log_format)
    # Do not wait for the database: metrics must show that it is away.
    with StopRequest() as request, new_pool(max_size=2) as pool:
        registry = registry_of(pool, celery, settings.jira_token_expires)
        try:
            server, thread = serve_metrics(port, host, registry)
        except OSError as exc:
            raise InvalidSettings(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
        typer.echo(f"http://{host}:{port}/metrics", err=True)
        while not request.wanted():
            time.sleep(_LOOK_SECONDS)
        server.shutdown()
        thread.join()

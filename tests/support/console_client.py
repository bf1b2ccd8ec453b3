"""A console on a port, and a browser's side of it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from console.app import create_console
from tests.support.servers import as_member
from tests.support.waiting import wait_until
from tests.support.web import WebProcess
from threadsync.config import Settings
from worker.db.roles import CONSOLE
from worker.http_once import tls_context

PASSWORD = "pälindromes-of-42-ostriches"


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The app behind a real server; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    try:
        wait_until(lambda: server.started, "the server has started")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def console_on(database_url: str, broker_url: str, **given: Any) -> Iterator[httpx.Client]:
    settings = Settings(
        # As in production: with nothing but the console's own rights.
        database_url=as_member(database_url, CONSOLE),
        celery_broker_url=broker_url,
        threadsync_console_password=PASSWORD,
        jira_url="https://jira.example.com",
        **given,
    )
    console = create_console(settings)
    app = Starlette(routes=[Mount("/console", console.app)], lifespan=console.app.router.lifespan_context)
    with served(app) as url, httpx.Client(base_url=url, verify=tls_context()) as client:
        yield client


def token(client: httpx.Client, path: str) -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', client.get(f"/console{path}").text)
    assert match
    return match[1]


def sign_in(client: httpx.Client, name: str, password: str, then: str = "/") -> httpx.Response:
    form = {"csrf": token(client, "/sign-in"), "name": name, "password": password}
    return client.post("/console/sign-in", params={"then": then}, data=form)


def web_process(folder: Path, database_url: str, broker_url: str, **env: str) -> WebProcess:
    settings = {
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": broker_url,
        "THREADSYNC_CONSOLE_PASSWORD": PASSWORD,
        **env,
    }
    return WebProcess({**os.environ, **settings}, folder / f"web-{env.get('NAME', '')}.log")

"""The app of an ASGI server: ``uvicorn handlers.asgi:app``. Importing may raise ``InvalidSettings``."""

from __future__ import annotations

import logging

from handlers.app import create_app
from handlers.connections import raise_descriptor_limit
from threadsync.config import get_settings
from worker.observe.line_limit import LineLimit
from worker.observe.logs import configure_logging
from worker.observe.tracing import start_tracing, traced_app

# Whichever server runs us, and whatever limit its shell had.
raise_descriptor_limit()
_settings = get_settings()
configure_logging(_settings.log_level, _settings.log_format)
for _name in ("uvicorn", "uvicorn.access"):
    # uvicorn gives these a handler and a format of their own before it imports us.
    logging.getLogger(_name).handlers.clear()
    logging.getLogger(_name).propagate = True
for _name in ("uvicorn.access", "uvicorn.error"):
    # Both write a line for each request.
    logging.getLogger(_name).addFilter(LineLimit(_name))
start_tracing(_settings, "web")
_console = None
if _settings.threadsync_console_password:
    # Only then: it loads the database driver.
    from console.app import create_console

    _console = create_console(_settings)
app = traced_app(create_app(_settings, console=_console))

"""What an ASGI server runs: ``uvicorn handlers.asgi:app``. Raises ``InvalidSettings`` on import."""

from __future__ import annotations

from handlers.app import create_app
from worker.config import get_settings
from worker.logs import configure_logging

_settings = get_settings()
configure_logging(_settings.log_level, _settings.log_format)
app = create_app(_settings)

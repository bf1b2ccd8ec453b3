"""Calls of Slack's Web API with one token."""

from __future__ import annotations

import json
from typing import Any

import httpx

from threadsync.config import Settings
from worker.http_once import HttpOnce, HttpResponse, Unknown
from worker.status_message.answers import MOST_BYTES, Answer, read


class WebApi:
    """Client that sends each call once. Threads wait for each other; not for use within an event loop.

    Args:
        api_url: such as ``https://slack.com/api/``.
        timeout: of a whole call, in seconds.
        transport: for tests, in place of sockets.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = HttpOnce(
            "Slack",
            f"{api_url.strip().rstrip('/')}/",
            {"Authorization": f"Bearer {token}"},
            timeout=timeout,
            most_bytes=MOST_BYTES,
            transport=transport,
        )

    def call(self, method: str, **arguments: Any) -> Answer:
        """Call a method. Arguments that are None are left out; others than texts travel as JSON."""
        form = {name: _spelt(value) for name, value in arguments.items() if value is not None}
        response = self._http.exchange("POST", method, form=form)
        if not isinstance(response, HttpResponse):
            return response
        if not response.is_whole:
            return Unknown("an answer that is too long")
        return read(response.status, response.headers, response.content)

    def close(self) -> None:
        """Close the connection; may be repeated."""
        self._http.close()


def web_api_of(settings: Settings, timeout: float = 10.0) -> WebApi | None:
    """Return a client with the token of the settings; None without one, or with the local placeholder.

    Args:
        timeout: of a whole call, in seconds.
    """
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else ""
    return WebApi(token, settings.slack_api_url, timeout) if token and settings.is_in_slack else None


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

"""Check Host before pages for browsers, against DNS rebinding."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from threadsync.hosts import PublicHosts

_WORDS: Final = (
    "This is not a name under which these pages are reached. "
    "PUBLIC_HOSTS of the web process lists them; localhost always is one.\n"
)


class HostCheck:
    """Middleware that refuses requests whose Host is none of ``hosts``, with 421 (RFC 9110, 15.5.20)."""

    def __init__(self, app: ASGIApp, hosts: PublicHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._hosts.named_by(scope["headers"], scope["scheme"]):
            await PlainTextResponse(_WORDS, HTTPStatus.MISDIRECTED_REQUEST)(scope, receive, send)
            return
        await self._app(scope, receive, send)

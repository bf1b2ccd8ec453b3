"""Refuse requests that do not come from the playground's own page in a browser on this machine.

A page of another site runs in the same browser, so the peer is loopback for it too, and it may use a name
that resolves to 127.0.0.1. Hence each request is judged by peer, by Host and by Origin, and one that changes
something needs the token of the page besides, which no other site can read.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.start_page import is_forwarded
from threadsync.hosts import Host, PublicHosts, is_loopback_address, read_host

TOKEN_HEADER: Final = "x-playground-token"  # noqa: S105 - its name
PAGE: Final = "/playground/"

_READS: Final = frozenset({"GET", "HEAD"})
_HTTP_PORT: Final = 80
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """The status and the sentence with which a request is refused."""

    status: HTTPStatus
    sentence: str


_OF_ANOTHER_SITE: Final = Refusal(HTTPStatus.FORBIDDEN, "Another site's page may not use the playground.")


class Guard:
    """Middleware that refuses what is not from the page, and sets the security headers of each response.

    Args:
        port: the one that the page is reached by.
        token: the page's; requests that change something must have it in ``TOKEN_HEADER``.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self._app = app
        self._port = port
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # A lifespan. For a WebSocket there is no route.
            await self._app(scope, receive, send)
            return
        refusal = refusal_of(scope, self._port, self._token)
        answer = PlainTextResponse(f"{refusal.sentence}\n", refusal.status) if refusal else self._app

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await answer(scope, receive, with_headers)


def refusal_of(scope: Scope, port: int, token: str) -> Refusal | None:
    """Return why a request is refused; None if it is from the page, or opens it."""
    headers = Headers(scope=scope)
    client = scope.get("client")
    if client is None or not is_loopback_address(client[0]) or is_forwarded(headers.keys()):
        return Refusal(HTTPStatus.FORBIDDEN, "The playground is for browsers on this machine alone.")
    host = PublicHosts(()).named_by(scope["headers"], "http")
    if host is None or (host.port or _HTTP_PORT) != port:
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"The playground is reached by http://127.0.0.1:{port}{PAGE} alone.",
        )
    if not _is_of_our_origin(headers, host):
        return _OF_ANOTHER_SITE
    if scope["method"] in _READS:
        return None if _may_be_read(headers, scope["path"]) else _OF_ANOTHER_SITE
    if "origin" not in headers or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _OF_ANOTHER_SITE
    if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), token.encode()):
        return Refusal(HTTPStatus.FORBIDDEN, "The page is of an earlier start. Please load it again.")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
    return None


def _is_of_our_origin(headers: Headers, host: Host) -> bool:
    """Return True if the one Origin, where there is one, is the page's."""
    origins = headers.getlist("origin")
    return not origins or (len(origins) == 1 and _host_of(origins[0]) == host)


def _host_of(origin: str) -> Host | None:
    try:
        parts = urlsplit(origin)
        return read_host(parts.netloc) if parts.scheme == "http" and not parts.path else None
    except ValueError:
        return None


def _may_be_read(headers: Headers, path: str) -> bool:
    """Return True unless a page of another site reads; a link may lead to the page itself from anywhere."""
    return path == PAGE or headers.get("sec-fetch-site", "none") in ("same-origin", "none")

"""``GET /``: the start page that ``threadsync up`` writes, for browsers on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from threadsync.hosts import is_loopback_address

# Headers of proxies and CDNs: a forwarded request has one.
_FORWARDED: Final = ("forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip")


class StartPage:
    """The page, read for each request: it is written when everything has started."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def show(self, request: Request) -> Response:
        """Return the page; 404 if it is not there yet, or the request comes from elsewhere or by a proxy."""
        if not _is_from_this_machine(request):
            return _nothing()
        try:
            return HTMLResponse(self._path.read_text(encoding="utf-8"))
        except OSError:
            return _nothing()


def is_forwarded(names: Iterable[str]) -> bool:
    """Return True if a request with headers of these names, in lower case, came by a proxy."""
    return any(name in _FORWARDED or name.startswith("x-forwarded") for name in names)


def _is_from_this_machine(request: Request) -> bool:
    # A server that trusts the proxy has put the client in place of the peer, so the headers count, too.
    if is_forwarded(request.headers.keys()):
        return False
    return request.client is not None and is_loopback_address(request.client.host)


def _nothing() -> Response:
    return PlainTextResponse("Not found", status_code=404)

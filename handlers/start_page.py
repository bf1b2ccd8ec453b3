"""``GET /``: a page from a file, which ``threadsync up`` writes, for people on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from threadsync.hosts import is_loopback_address

# Of proxies, of CDNs, of anything in between: who is asked for by another has one.
_FORWARDED: Final = ("forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip")


class StartPage:
    """Read anew for each request: it is written when everything has started."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def show(self, request: Request) -> Response:
        """The page; 404 as long as it is not there, and for those who come from elsewhere or by a proxy."""
        if not _is_from_this_machine(request):
            return _nothing()
        try:
            return HTMLResponse(self._path.read_text(encoding="utf-8"))
        except OSError:
            return _nothing()


def _is_from_this_machine(request: Request) -> bool:
    # A server that trusts the proxy has put the client in place of the peer, so the headers count, too.
    names = request.headers.keys()
    if any(name in _FORWARDED or name.startswith("x-forwarded") for name in names):
        return False
    return request.client is not None and is_loopback_address(request.client.host)


def _nothing() -> Response:
    return PlainTextResponse("Not found", status_code=404)

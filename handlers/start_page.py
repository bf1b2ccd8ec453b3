"""``GET /``: a page that somebody wrote into a file, such as ``threadsync up``."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response


class StartPage:
    """Read anew for each request: it is written when everything has started."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def show(self, request: Request) -> Response:
        """The page; 404 as long as it is not there."""
        try:
            return HTMLResponse(self._path.read_text(encoding="utf-8"))
        except OSError:
            return PlainTextResponse("Not found", status_code=404)

"""The sandbox Slack without sockets, as a transport of httpx that raises a socket's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx

from sandbox.faults import CutOff, Dropped, Fault, Hangs, Page, RateLimited, Refused
from sandbox.slack.scopes import SCOPES
from sandbox.slack.workspace import SlackError, SlackWorkspace

API: Final = "/api/"
FILES: Final = "files"
"""Name of a download, where a method has its own."""

_PAGE: Final = "<!DOCTYPE html><html><body>Slack</body></html>"
Plan = Callable[[str], Fault | None]


class SlackTransport(httpx.AsyncBaseTransport):
    """Transport that responds from ``workspace`` at once, to calls of the Web API and to downloads.

    Args:
        token: the bot's; another one is refused, and gets a page to sign in in place of a file.
        on_wait: called with the seconds that the client would have waited.

    ``plan`` is asked for the fault of each call, by its method; ``is_down`` refuses every connection. Raises
    ``ConnectError``, ``RemoteProtocolError`` where a connection ends early, and ``ReadTimeout``.
    """

    def __init__(
        self, workspace: SlackWorkspace, token: str, on_wait: Callable[[float], None] = lambda seconds: None
    ) -> None:
        self.workspace = workspace
        self.plan: Plan | None = None
        self.is_down = False
        self.scopes = SCOPES
        self._token = token
        self._on_wait = on_wait

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("All connection attempts failed", request=request)
        path, is_ours = request.url.path, request.headers.get("authorization") == f"Bearer {self._token}"
        method = path.removeprefix(API) if path.startswith(API) else FILES
        fault = self.plan(method) if self.plan else None
        match fault:
            case RateLimited(retry_after):
                return httpx.Response(429, headers={"Retry-After": str(retry_after)}, json={"ok": False})
            case Refused(error):
                return httpx.Response(200, json={"ok": False, "error": error})
            case Page(status, text, content_type):
                return httpx.Response(status, text=text or _PAGE, headers={"Content-Type": content_type})
            case Hangs(seconds):
                self._wait(seconds, request)
            case Dropped(committed=False):
                raise httpx.RemoteProtocolError("Server disconnected.", request=request)
        answer = (
            self._file(path, is_ours=is_ours)
            if method == FILES
            else self._answer(method, dict(parse_qsl((await request.aread()).decode())), is_ours=is_ours)
        )
        if isinstance(fault, Dropped):
            raise httpx.RemoteProtocolError("Server disconnected.", request=request)
        if isinstance(fault, CutOff):
            cut = answer.content[: len(answer.content) // 2]
            return httpx.Response(answer.status_code, content=cut, headers=_type_of(answer))
        return answer

    def _answer(self, method: str, arguments: dict[str, Any], *, is_ours: bool) -> httpx.Response:
        if not is_ours:
            return httpx.Response(200, json={"ok": False, "error": "invalid_auth"})
        try:
            body = self.workspace.call(method, arguments, self.scopes)
        except SlackError as exc:
            body = {"ok": False, "error": str(exc), **exc.more}
        return httpx.Response(200, json=body, headers={"X-OAuth-Scopes": ",".join(self.scopes)})

    def _file(self, path: str, *, is_ours: bool) -> httpx.Response:
        file = self.workspace.file(path.strip("/").split("/")[1])
        if file is None or not is_ours or "files:read" not in self.scopes:
            return httpx.Response(200, text=_PAGE, headers={"Content-Type": "text/html; charset=utf-8"})
        return httpx.Response(200, content=file.content, headers={"Content-Type": file.mimetype})

    def _wait(self, seconds: float, request: httpx.Request) -> None:
        patience = request.extensions.get("timeout", {}).get("read")
        if patience is not None and seconds > patience:
            self._on_wait(patience)
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        self._on_wait(seconds)


def _type_of(answer: httpx.Response) -> dict[str, str]:
    return {"Content-Type": answer.headers.get("Content-Type", "")}

"""Bound the bodies of all requests but Slack's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_FORM_BYTES: Final = 65_536


class FormLimit:
    """Middleware that responds 413 to a body of more than ``MAX_FORM_BYTES``, announced or not.

    Args:
        exempt: paths that bound their bodies themselves.
    """

    def __init__(self, app: ASGIApp, exempt: Collection[str]) -> None:
        self._app = app
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        too_large = not announced.isdecimal() or len(announced) > 9 or int(announced) > MAX_FORM_BYTES
        read = 0

        async def limited() -> Message:
            nonlocal read
            if too_large:
                raise HTTPException(413, "The form is too large.")
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_FORM_BYTES:
                raise HTTPException(413, "The form is too large.")
            return message

        try:
            await self._app(scope, limited, send)
        except ClientDisconnect:
            # The connection is gone in the middle of a form: there is no one to respond to.
            return

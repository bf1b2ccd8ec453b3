"""Who may look and press: one password for all, a name for the record, and no press that another site made.

A session lies in a signed cookie. Its key is made from the password, so that another password ends them all.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.decisions import LONGEST_ACTOR

COOKIE: Final = "threadsync_console"
SESSION_SECONDS: Final = 12 * 3600
_WRONG_PASSWORD_SECONDS: Final = 1.0
_TRIES_AT_ONCE: Final = 4
_MOST_WAITING: Final = 50


class Sessions:
    """Starlette's sessions, with the cookie for HTTPS alone where the request came by it."""

    def __init__(self, app: ASGIApp, password: str) -> None:
        options: dict[str, Any] = {
            "secret_key": blake2b(password.encode(), person=b"console-cookie").hexdigest(),
            "session_cookie": COOKIE,
            "max_age": SESSION_SECONDS,
            "path": "/console",
            "same_site": "strict",
        }
        self._plain = SessionMiddleware(app, **options)
        self._secure = SessionMiddleware(app, **options, https_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._secure if scope.get("scheme") == "https" else self._plain)(scope, receive, send)


class Door:
    """Compares passwords in constant time, and so many a second that guessing is hopeless."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._turns = asyncio.Semaphore(_TRIES_AT_ONCE)
        self._waiting = 0

    async def opens(self, password: str) -> bool | None:
        """Whether it is the password; None when so many try that nobody can be heard."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        try:
            async with self._turns:
                if hmac.compare_digest(password.encode(), self._password):
                    return True
                await asyncio.sleep(_WRONG_PASSWORD_SECONDS)
                return False
        finally:
            self._waiting -= 1


def sign_in(request: Request, actor: str) -> None:
    """Begin a session for ``actor``, who is recorded with each decision. An earlier one is forgotten."""
    request.session.clear()
    request.session.update(
        actor=actor.strip()[:LONGEST_ACTOR], since=time.time(), csrf=secrets.token_urlsafe()
    )


def sign_out(request: Request) -> None:
    """End the session in this browser."""
    request.session.clear()


def actor_of(request: Request) -> str | None:
    """Who is signed in."""
    # The cookie's own age begins again with each change; that of the session does not.
    since = request.session.get("since")
    if not isinstance(since, int | float) or time.time() - since > SESSION_SECONDS:
        return None
    actor = request.session.get("actor")
    return actor if isinstance(actor, str) and actor else None


def csrf_token(request: Request) -> str:
    """For the forms of this session."""
    return str(request.session.setdefault("csrf", secrets.token_urlsafe()))


def is_our_form(request: Request, token: object) -> bool:
    """Whether a page of ours sent it: the session's token is in it, and no other site's address about it."""
    expected = request.session.get("csrf")
    if not isinstance(expected, str) or not isinstance(token, str):
        return False
    if not hmac.compare_digest(token.encode(), expected.encode()):
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")

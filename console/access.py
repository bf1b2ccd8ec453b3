"""Identify the signed-in visitor, and refuse forms that another site sent.

A cookie is a random token of a row in the database. Nothing that a visitor gets leads to the password.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from threadsync.errors import ThreadsyncError
from threadsync.hosts import read_host
from worker.db.console_login.sessions import SESSION_SECONDS, ConsoleSession, ConsoleSessionStore
from worker.db.pool import Pool
from worker.operate.decisions import LONGEST_ACTOR

COOKIE: Final = "threadsync_console"
_SAID: Final = "threadsync_console_said"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOKUPS_AT_ONCE: Final = 2
_LONGEST_SAID: Final = 1_000
_SAID_SECONDS: Final = 60


@dataclass
class Visitor:
    """The visitor of one request: cookie token, console session, and cookies to set in the response."""

    token: str | None = None
    session: ConsoleSession | None = None
    trouble: ThreadsyncError | None = None
    said: str = ""
    cookies: dict[str, str | None] = field(default_factory=dict)

    def take(self, token: str | None) -> None:
        """Set the browser's token; None removes it."""
        self.token = token
        self.cookies[COOKIE] = token


class SignIns:
    """Begin, find and end console sessions. A new password ends all: it is part of the hash."""

    def __init__(self, pool: Pool, password: str) -> None:
        self._store = ConsoleSessionStore(pool)
        self._key = blake2b(password.encode(), person=b"console-id").digest()
        # Its own: forged cookies, which anyone can send, delay no page and no event of Slack's.
        self._limiter = CapacityLimiter(_LOOKUPS_AT_ONCE)

    async def find(self, token: str) -> ConsoleSession | None:
        """Find the session of a token. Raises ``DatabaseUnavailable``."""
        return await to_thread.run_sync(self._store.find, self._hash(token), limiter=self._limiter)

    async def begin(self, request: Request, name: str) -> None:
        """Begin a session for ``name``, which is recorded with each decision. An earlier one ends.

        Raises ``DatabaseUnavailable``.
        """
        visitor, token = visitor_of(request), secrets.token_urlsafe(32)
        session = ConsoleSession(
            name.strip()[:LONGEST_ACTOR], request.client.host if request.client else None
        )
        earlier = self._hash(visitor.token) if visitor.token else None
        await to_thread.run_sync(self._store.begin, self._hash(token), session, earlier)
        visitor.take(token)

    async def end(self, request: Request) -> None:
        """End the session, for every copy of its cookie. Raises ``DatabaseUnavailable``."""
        visitor = visitor_of(request)
        if visitor.token:
            await to_thread.run_sync(self._store.end, self._hash(visitor.token))
        visitor.session = None
        visitor.take(None)

    def _hash(self, token: str) -> bytes:
        return blake2b(token.encode(), key=self._key, digest_size=32, person=b"console-id").digest()


class Visitors:
    """Middleware that identifies the visitor, and sets the cookies that changed."""

    def __init__(self, app: ASGIApp, sign_ins: SignIns) -> None:
        self._app = app
        self._sign_ins = sign_ins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_static(scope):
            # A style sheet is public, and caches keep it: no cookie goes with it.
            scope["visitor"] = Visitor()
            await self._app(scope, receive, send)
            return
        visitor = scope["visitor"] = await self._seen(HTTPConnection(scope))

        async def with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start" and visitor.cookies:
                _set_cookies(MutableHeaders(scope=message), visitor, _is_for_https(scope))
            await send(message)

        await self._app(scope, receive, with_cookies)

    async def _seen(self, connection: HTTPConnection) -> Visitor:
        token = connection.cookies.get(COOKIE, "")
        if not _TOKEN.fullmatch(token):
            return Visitor()
        visitor = Visitor(token, said=_read_said(connection.cookies.get(_SAID, ""), token))
        try:
            visitor.session = await self._sign_ins.find(token)
        except ThreadsyncError as exc:
            # Kept for the pages that need it; the sign-in form is shown all the same.
            visitor.trouble = exc
        return visitor


def visitor_of(request: Request) -> Visitor:
    """Return the visitor that ``Visitors`` identified."""
    visitor: Visitor = request.scope["visitor"]
    return visitor


def actor_of(request: Request) -> str | None:
    """Return the name of the signed-in visitor, or None. Raises ``DatabaseUnavailable``."""
    visitor = visitor_of(request)
    if visitor.trouble:
        raise visitor.trouble
    return visitor.session.name if visitor.session else None


def csrf_token(request: Request) -> str:
    """Make the token for this visitor's forms from the cookie's token, which other sites cannot see."""
    visitor = visitor_of(request)
    if not visitor.token:
        visitor.take(secrets.token_urlsafe(32))
    assert visitor.token  # noqa: S101 - just taken
    return _made_of(visitor.token, "", b"console-form")


def flash(request: Request, sentence: str) -> None:
    """Show a sentence on the next page."""
    token = visitor_of(request).token
    if token:
        sentence = sentence[:_LONGEST_SAID]
        text = base64.urlsafe_b64encode(sentence.encode()).decode("ascii").rstrip("=")
        # A neighbouring host can set cookies for us, and must not put text on our pages.
        visitor_of(request).cookies[_SAID] = f"{text}.{_made_of(token, sentence, b'console-said')}"


def flashed(request: Request) -> str | None:
    """Return the sentence of ``flash``, once."""
    visitor = visitor_of(request)
    if visitor.said:
        visitor.cookies[_SAID] = None
    return visitor.said or None


def is_our_form(request: Request, token: object) -> bool:
    """Return True for a form of our pages: it has the visitor's token, and no other site's origin."""
    if not visitor_of(request).token or not isinstance(token, str):
        return False
    if not hmac.compare_digest(token.encode(), csrf_token(request).encode()):
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False


def lacks_https(request: Request) -> bool:
    """Return True if the browser may have dropped our cookie because the request came by plain HTTP."""
    return request.scope["scheme"] != "https" and _is_for_https(request.scope)


def _made_of(token: str, text: str, purpose: bytes) -> str:
    return blake2b(text.encode(), key=token.encode(), digest_size=32, person=purpose).hexdigest()


def _read_said(value: str, token: str) -> str:
    text, _, mark = value.partition(".")
    try:
        sentence = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    expected = _made_of(token, sentence, b"console-said")
    return sentence if hmac.compare_digest(mark.encode(), expected.encode()) else ""


def _is_static(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith("/static/")


def _is_for_https(scope: Scope) -> bool:
    """Return True for HTTPS, also behind a silent proxy: only loopback is reached by plain HTTP."""
    if scope["scheme"] == "https":
        return True
    try:
        return not read_host(HTTPConnection(scope).headers.get("host", "")).is_loopback
    except ValueError:
        return True


def _set_cookies(headers: MutableHeaders, visitor: Visitor, is_secure: bool) -> None:
    answer = Response()
    for name, value in visitor.cookies.items():
        options: dict[str, Any] = {
            "path": "/console",
            "secure": is_secure,
            "httponly": True,
            "samesite": "strict",
        }
        if value is None:
            answer.delete_cookie(name, **options)
        else:
            age = SESSION_SECONDS if name == COOKIE else _SAID_SECONDS
            answer.set_cookie(name, value, max_age=age, **options)
    for name, value in answer.headers.items():
        if name == "set-cookie":
            headers.append(name, value)

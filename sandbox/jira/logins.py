"""Logins of the sandbox Jira: tokens, what they open and until when, and OAuth's client credentials. No I/O.

login                    sent to    header   kind of the credential
classic API token        site       Basic    classic
Data Center access token site       Bearer   access_token
scoped API token         gateway    Basic    scoped
OAuth access token       gateway    Bearer   oauth
"""

from __future__ import annotations

import base64
import binascii
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from sandbox.jira.accounts import BOT_ID, SERVICE_ID
from sandbox.jira.scopes import ALL, scope_of

SCOPED_TOKEN: Final = "sandbox-scoped"  # noqa: S105 - nobody's
CLIENT_ID: Final = "sandbox-client"
CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105 - nobody's

Door = Literal["site", "gateway"]
Kind = Literal["classic", "access_token", "scoped", "oauth"]

_KINDS: Final[dict[tuple[Door, str], Kind]] = {
    ("site", "basic"): "classic",
    ("site", "bearer"): "access_token",
    ("gateway", "basic"): "scoped",
    ("gateway", "bearer"): "oauth",
}


@dataclass(frozen=True)
class Credential:
    """A token. ``email`` is checked with Basic only; ``expires`` is on the site's clock, None for never."""

    kind: Kind
    token: str
    account: str
    email: str = ""
    scopes: frozenset[str] = ALL
    expires: float | None = None


@dataclass(frozen=True)
class OAuthClient:
    """A client of the token server; its tokens have its account and its scopes."""

    id: str
    secret: str
    account: str = SERVICE_ID
    scopes: frozenset[str] = ALL


class Logins:
    """The tokens that a site and its gateway accept. Safe for threads; all of it may be changed at any time.

    Args:
        clock: the time in seconds, by which tokens expire.

    ``scoped_only`` refuses every token at the site, so that only the gateway serves. ``token_seconds`` is the
    life of OAuth tokens from then on. The gateway answers the actions in ``denied`` as if each token lacked
    their scope; actions are named in `sandbox.jira.faults`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.scoped_only = False
        self.token_seconds = 3600.0
        self.denied: set[str] = set()
        self.clients = {CLIENT_ID: OAuthClient(CLIENT_ID, CLIENT_SECRET)}
        self._clock = clock
        self._lock = threading.RLock()
        self._credentials: dict[tuple[Kind, str], Credential] = {}
        self._numbers = itertools.count(1)

    def put(self, credential: Credential) -> Credential:
        """Accept a token from now on, in place of the same one with other rights."""
        with self._lock:
            self._credentials[credential.kind, credential.token] = credential
            return credential

    def revoke(self, token: str) -> None:
        """Refuse a token from now on. An unknown one is none already."""
        with self._lock:
            for key in [key for key in self._credentials if key[1] == token]:
                del self._credentials[key]

    def expire(self, token: str, at: float) -> None:
        """Let a token end at a time of the site's clock."""
        with self._lock:
            for key, credential in list(self._credentials.items()):
                if key[1] == token:
                    self._credentials[key] = replace(credential, expires=at)

    def revoke_access_tokens(self) -> None:
        """Refuse every OAuth token that was issued until now; clients get new ones."""
        with self._lock:
            for key in [key for key in self._credentials if key[0] == "oauth"]:
                del self._credentials[key]

    def admit(self, door: Door, authorization: str) -> Credential | None:
        """Return the credential of an ``Authorization`` header; None if this door does not accept it."""
        scheme, _, given = authorization.partition(" ")
        kind = _KINDS.get((door, scheme.lower()))
        if kind is None or (door == "site" and self.scoped_only):
            return None
        email, token = ("", given) if scheme.lower() == "bearer" else _basic(given)
        with self._lock:
            known = self._credentials.get((kind, token))
        if known is None or known.email != email:
            return None
        return known if known.expires is None or self._clock() < known.expires else None

    def allows(self, credential: Credential, action: str) -> bool:
        """Return True if the token's scopes allow the action. Only the gateway knows scopes."""
        if credential.kind not in ("scoped", "oauth"):
            return True
        endpoint = action.partition(".")[0]
        needed = scope_of(action)
        return not self.denied & {action, endpoint} and (needed is None or needed in credential.scopes)

    def issue(self, client_id: str, secret: str) -> Credential | None:
        """Issue an access token that lives ``token_seconds``; None if the client or its secret is wrong."""
        with self._lock:
            client = self.clients.get(client_id)
            if client is None or client.secret != secret:
                return None
            token, ends = f"sandbox-access-{next(self._numbers)}", self._clock() + self.token_seconds
            return self.put(Credential("oauth", token, client.account, scopes=client.scopes, expires=ends))


def first_logins(clock: Callable[[], float], email: str, token: str) -> Logins:
    """Return the logins of a new site: the bot's classic, scoped and access token, and an OAuth client."""
    logins = Logins(clock)
    put_tokens(logins, email, token)
    return logins


def put_tokens(logins: Logins, email: str, token: str) -> None:
    """Accept the bot's tokens: that of the site, as a classic and an access token, and the scoped one."""
    logins.put(Credential("classic", token, BOT_ID, email))
    logins.put(Credential("access_token", token, BOT_ID))
    logins.put(Credential("scoped", SCOPED_TOKEN, BOT_ID, email))


def _basic(given: str) -> tuple[str, str]:
    try:
        email, _, token = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return email, token

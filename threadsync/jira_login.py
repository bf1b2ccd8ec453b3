"""Rules of the settings by which we log in to Jira. Pure: tested as a table.

| login | settings |
|---|---|
| classic API token | `JIRA_EMAIL`, `JIRA_API_TOKEN` |
| scoped API token | the same and `JIRA_CLOUD_ID` |
| OAuth 2 client credentials | `JIRA_OAUTH_CLIENT_ID`, `JIRA_OAUTH_CLIENT_SECRET`; `JIRA_CLOUD_ID` or `auto` |
| Data Center | `JIRA_DEPLOYMENT=datacenter`, `JIRA_API_TOKEN`, perhaps `JIRA_EMAIL` |

`JIRA_URL` is the site that people click, whatever the login is: links, site and marker are made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from threadsync.hosts import is_loopback

Kind = Literal["classic", "scoped", "oauth", "datacenter"]

GATEWAY: Final = "https://api.atlassian.com"
TOKEN_URL: Final = "https://auth.atlassian.com/oauth/token"  # noqa: S105 - an address
AUTO: Final = "auto"
"""``JIRA_CLOUD_ID`` that is asked of the site."""

NAMES: Final[dict[Kind, str]] = {
    "classic": "API token",
    "scoped": "scoped API token",
    "oauth": "OAuth 2 client credentials",
    "datacenter": "Data Center token",
}
"""Names of the logins for people."""

_AT_THE_GATEWAY: Final = re.compile(r"/ex/jira(?:/(?P<cloud_id>[^/]*))?(?:/|$)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_WITH_TOKEN: Final = "JIRA_EMAIL and JIRA_API_TOKEN"  # noqa: S105 - names
_WITH_OAUTH: Final = "JIRA_OAUTH_CLIENT_ID and JIRA_OAUTH_CLIENT_SECRET"


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """The settings of the login; of the secrets only whether they are set.

    ``cloud_id`` is a UUID or ``auto``. A process may have all settings but the secrets: no fault is made of
    a secret that is missing, except by `missing_secrets`.
    """

    url: str | None = None
    deployment: Literal["cloud", "datacenter"] = "cloud"
    email: bool = False
    api_token: bool = False
    cloud_id: str | None = None
    client_id: bool = False
    client_secret: bool = False
    gateway: str = GATEWAY
    token_url: str = TOKEN_URL
    allow_http: bool = False

    @property
    def kind(self) -> Kind | None:
        """The login that the settings name, whether or not it is whole; None if they name none."""
        if self.client_id or self.client_secret:
            return "oauth"
        if not (self.email or self.api_token):
            return None
        if self.deployment == "datacenter":
            return "datacenter"
        return "scoped" if self.cloud_id else "classic"


def read_cloud_id(text: str) -> str:
    """Return a UUID in lower case, or ``auto``. Raises ``ValueError`` for anything else."""
    if text.strip().casefold() == AUTO:
        return AUTO
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise ValueError(
            "must be the site's id, such as 11223344-a1b2-4b33-c444-def123456789 (the site says it at "
            "/_edge/tenant_info), or `auto`"
        ) from None


def faults_of(given: LoginSettings) -> tuple[str, ...]:
    """Return a sentence for each fault, with the name of the setting first. No value of a secret is in it."""
    return (*_of_addresses(given), *(_of_login(given) if given.url else ()))


def missing_secrets(given: LoginSettings) -> tuple[str, ...]:
    """Return a sentence for the secret that a process lacks which calls Jira. Nothing without a login."""
    if not given.url:
        return ()
    if given.kind == "oauth" and not given.client_secret:
        return (
            "JIRA_OAUTH_CLIENT_SECRET: is not set, and JIRA_OAUTH_CLIENT_ID is; set both, or neither and "
            f"{_WITH_TOKEN}",
        )
    if given.kind not in (None, "oauth") and not given.api_token:
        return (
            "JIRA_API_TOKEN: is not set, and JIRA_EMAIL is; set both, or neither for a worker without a Jira",
        )
    return ()


def _of_addresses(given: LoginSettings) -> Iterator[str]:
    addresses = {
        "JIRA_URL": (given.url or "", "the token"),
        "JIRA_API_GATEWAY": (given.gateway, "the token"),
        "JIRA_OAUTH_TOKEN_URL": (given.token_url, "the client secret"),
    }
    for name, (url, secret) in addresses.items():
        if url.casefold().startswith("http://") and not (given.allow_http or is_loopback(url)):
            yield (
                f"{name}: http:// shows {secret} to everything on the way; write https://, or set "
                "JIRA_ALLOW_HTTP=true if all of the way is yours"
            )
    if given.url and (fault := _gateway_as_site(given.url, given.gateway)):
        yield fault


def _gateway_as_site(url: str, gateway: str) -> str | None:
    found = _AT_THE_GATEWAY.search(urlsplit(url).path)
    if not found and _host_of(url) not in (_host_of(gateway), _host_of(GATEWAY)):
        return None
    try:
        cloud_id = str(UUID(found["cloud_id"] or "")) if found else None
    except ValueError:
        cloud_id = None
    return (
        "JIRA_URL: is the address of the gateway, which no person can open; write the site that people "
        "click, such as https://example.atlassian.net, and for a scoped token or OAuth set "
        f"JIRA_CLOUD_ID={cloud_id or AUTO}"
    )


def _host_of(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(parts.scheme.casefold())


def _of_login(given: LoginSettings) -> Iterator[str]:
    has_token, has_oauth = given.email or given.api_token, given.client_id or given.client_secret
    if has_token and has_oauth:
        yield f"JIRA_OAUTH_CLIENT_ID: two logins are set; take out {_WITH_OAUTH}, or {_WITH_TOKEN}"
    if given.client_secret and not given.client_id:
        yield (
            "JIRA_OAUTH_CLIENT_ID: is not set, and JIRA_OAUTH_CLIENT_SECRET is; set both, or neither and "
            f"{_WITH_TOKEN}"
        )
    if given.deployment == "datacenter":
        yield from _of_data_center(given)
    elif given.api_token and not given.email and not has_oauth:
        yield (
            "JIRA_EMAIL: is not set, and Jira Cloud takes a token only with the account's e-mail address; "
            f"set it, or {_WITH_OAUTH} in place of the token, or JIRA_DEPLOYMENT=datacenter"
        )
    elif given.cloud_id and not has_token and not has_oauth:
        yield f"JIRA_CLOUD_ID: is set without a login; set {_WITH_TOKEN}, or {_WITH_OAUTH}, or take it out"


def _of_data_center(given: LoginSettings) -> Iterator[str]:
    if given.client_id or given.client_secret:
        yield (
            "JIRA_OAUTH_CLIENT_ID: this login is of Jira Cloud; for a Data Center set JIRA_API_TOKEN to an "
            "access token, else JIRA_DEPLOYMENT=cloud"
        )
    if given.cloud_id:
        yield "JIRA_CLOUD_ID: a Data Center has none; take it out, or set JIRA_DEPLOYMENT=cloud"

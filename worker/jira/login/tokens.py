"""Logins whose token stays the same: nothing renews it, and its 401 is a matter for a person."""

from __future__ import annotations

import base64

from worker.jira.login.access import Access
from worker.jira.login.cloud_id import CloudId


class ClassicToken:
    """API token of an account, at the site. A Data Center has it as password or token, with a user's name."""

    def __init__(self, site: str, email: str, token: str) -> None:
        self._access = Access(site, basic(email, token))

    def access(self) -> Access:
        return self._access

    def access_at_hand(self) -> Access | None:
        return self._access

    def refused(self, access: Access) -> bool:
        return False

    def close(self) -> None:
        """Close nothing."""


class DataCenterToken:
    """Personal access token of a Data Center, at the site."""

    def __init__(self, site: str, token: str) -> None:
        self._access = Access(site, bearer(token))

    def access(self) -> Access:
        return self._access

    def access_at_hand(self) -> Access | None:
        return self._access

    def refused(self, access: Access) -> bool:
        return False

    def close(self) -> None:
        """Close nothing."""


class ScopedToken:
    """API token with scopes, at the gateway. Service accounts have no other."""

    def __init__(self, cloud_id: CloudId, email: str, token: str) -> None:
        self._cloud_id = cloud_id
        self._authorization = basic(email, token)

    def access(self) -> Access:
        return Access(self._cloud_id.address(), self._authorization)

    def access_at_hand(self) -> Access | None:
        address = self._cloud_id.known_address
        return Access(address, self._authorization) if address else None

    def refused(self, access: Access) -> bool:
        return False

    def close(self) -> None:
        self._cloud_id.close()


def basic(email: str, token: str) -> bytes:
    """Return the header of an account with a password or token."""
    return b"Basic " + base64.b64encode(f"{email}:{token}".encode())


def bearer(token: str) -> bytes:
    """Return the header of a bearer token."""
    return b"Bearer " + token.encode()

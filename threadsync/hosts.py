"""Hosts of requests and settings, compared regardless of case, a final dot and the default port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@\[\]\\,]+))(?::([0-9]{0,5}))?")
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Host:
    """A name in lower case, or an address in its shortest form, and a port if one is named."""

    name: str
    port: int | None = None

    @property
    def is_loopback(self) -> bool:
        """True for ``localhost`` and loopback addresses, which no name server can change."""
        return self.name == "localhost" or is_loopback_address(self.name)

    def is_of(self, allowed: Host, scheme: str) -> bool:
        """Return True for the allowed host; an allowed host without a port allows each port."""
        port = self.port or _DEFAULT_PORTS.get(scheme)
        return self.name == allowed.name and allowed.port in (None, port)


def read_host(text: str) -> Host:
    """Read ``name``, ``name:port`` or ``[address]:port``. Raises ``ValueError``."""
    found = _HOST.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:100]!r} is no host")
    address, name, port = found.groups()
    if port and not 0 < int(port) <= 65_535:
        raise ValueError(f"{text[:100]!r} has no port")
    return Host(_address(address) if address else _name(name), int(port) if port else None)


def is_loopback_address(text: str) -> bool:
    """Return True for an address of this machine's loopback, also for one of IPv4 written as IPv6."""
    try:
        return ipaddress.ip_address(_address(text)).is_loopback
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Return True if a URL's host is this machine, to which plain http may go; False for an invalid URL."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class PublicHosts:
    """Hosts under which our pages may be reached: the given ones, and this machine's loopback."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._allowed = [read_host(host) for host in hosts]

    def named_by(self, headers: Iterable[tuple[bytes, bytes]], scheme: str) -> Host | None:
        """Return the request's host if it is allowed, else None. A request with two Host headers has none."""
        values = [value for name, value in headers if name.lower() == b"host"]
        try:
            [value] = values
            host = read_host(value.decode("ascii"))
        except ValueError:
            return None
        if host.is_loopback or any(host.is_of(allowed, scheme) for allowed in self._allowed):
            return host
        return None


def _address(text: str) -> str:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _name(text: str) -> str:
    name = text.removesuffix(".").lower()
    if not name.isascii():
        # Its tables are large, and few processes meet such a name.
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as exc:
            raise ValueError(f"{text[:100]!r} is no host's name") from exc
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text[:100]!r} is no host's name")
    return name

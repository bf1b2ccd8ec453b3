"""Turn an address into redis-py's arguments for its server, as kombu and Celery read it. No kombu."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from threadsync.address import Address

_DEFAULT_PORTS: Final = {"sentinel": 26379}


def servers_of(address: Address, host: str = "127.0.0.1", port: int | None = None) -> list[dict[str, Any]]:
    """Return host and port or path, database, user, password and TLS of each address.

    Args:
        host: the one of an address that names none.
        port: the same. By default as kombu has it, by the scheme.
    """
    port = port or _DEFAULT_PORTS.get(address.scheme, 6379)
    return [_server(address, url, host, port) for url in address.url.split(";")]


def _server(address: Address, url: str, host: str, port: int) -> dict[str, Any]:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if address.is_socket:
        database = dict(parse_qsl(parts.query)).get("virtual_host")
        place: dict[str, Any] = {"path": path}
    else:
        database = path.strip("/")
        place = {"host": unquote(parts.hostname or host), "port": parts.port or port}
    login = {"username": parts.username, "password": parts.password}
    return {
        "db": int(database or 0),
        **place,
        **{name: unquote(value) for name, value in login.items() if value},
        **(address.tls.for_redis() if address.tls else {}),
    }

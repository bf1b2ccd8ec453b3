"""Whether a service of ours is ready for work."""

from __future__ import annotations

import asyncio
import socket
import struct
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_PROTOCOL_3_0: Final = 196_608
_CANNOT_CONNECT_NOW: Final = b"57P03"
_LONGEST_ERROR: Final = 8_192
_LIBPQ_DEFAULT_HOSTS: Final = ("/var/run/postgresql", "/tmp", "localhost")  # noqa: S108 - where sockets are


def answers_http(url: str) -> bool:
    """Whether an HTTP server is there; refusing the request is an answer."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - a URL of our own
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False


def worker_answers(name: str, broker_url: str | None) -> bool:
    """Whether the Celery worker ``name@<this host>`` replies to a ping over the broker.

    ``broker_url`` is the one of the environment if None.
    """
    from celery import Celery

    from threadsync.broker.errors import BROKER_ERRORS
    from threadsync.broker.options import broker_options
    from threadsync.config import load_settings

    settings = load_settings(**({"celery_broker_url": broker_url} if broker_url else {}))
    # As workers listen: kombu's own way would put back what others hold, which no login of ours may.
    with Celery(amqp="worker.durable.connection:DurableAMQP", set_as_current=False) as app:
        # Its key prefix, its sentinels' master, its certificates.
        app.conf.update(broker_options(settings.broker_url or "", settings, "worker"))
        try:
            return bool(app.control.ping(destination=[f"{name}@{socket.gethostname()}"], timeout=0.5))
        except BROKER_ERRORS:
            return False


async def postgres_accepts(url: str, within: float = 2) -> bool:
    """Whether one of the URL's hosts takes connections, asked as libpq's ``PQping`` asks, but without libpq.

    It sends a StartupMessage and reads the first answer. A refused password or database is an answer too;
    only "the database system is starting up" (57P03) is not. So a web process needs no driver to know.
    """
    try:
        startup, hosts = _startup_message(url), _postgres_hosts(url)
    except ValueError:
        return False
    answers = await asyncio.gather(*(_host_accepts(host, startup, within) for host in hosts))
    return any(answers)


async def _host_accepts(host: tuple[str, int], startup: bytes, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            reader, writer = await _connect(*host)
            try:
                writer.write(startup)
                await writer.drain()
                return await _is_ready(reader)
            finally:
                writer.close()
    # No such port is an OverflowError.
    except (OSError, EOFError, ValueError, OverflowError):
        return False


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


async def _is_ready(reader: asyncio.StreamReader) -> bool:
    """The first message: ``R`` asks for a password or welcomes us, ``E`` is an error with its SQLSTATE."""
    head = await reader.readexactly(5)
    kind, length = head[:1], int.from_bytes(head[1:])
    if kind != b"E":
        return kind == b"R"
    fields = (await reader.readexactly(min(length, _LONGEST_ERROR) - 4)).split(b"\0")
    return b"C" + _CANNOT_CONNECT_NOW not in fields


def _startup_message(url: str) -> bytes:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    login = parts.netloc.rpartition("@")[0]
    user = options.get("user") or unquote(login.partition(":")[0]) or "postgres"
    database = options.get("dbname") or unquote(parts.path.removeprefix("/")) or user
    pairs = f"user\0{user}\0database\0{database}\0\0".encode()
    return struct.pack("!II", 8 + len(pairs), _PROTOCOL_3_0) + pairs


def _postgres_hosts(url: str) -> list[tuple[str, int]]:
    """Hosts and ports as libpq reads them: a list, a folder of sockets, ``host=`` and ``port=`` options."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    found = [_host_and_port(item) for item in parts.netloc.rpartition("@")[2].split(",")]
    names = options["host"].split(",") if "host" in options else [name for name, _ in found]
    ports = options["port"].split(",") if "port" in options else [port for _, port in found]
    if len(ports) != len(names):
        ports = ports[:1] * len(names)
    return [
        (host, int(port or 5432))
        for name, port in zip(names, ports, strict=True)
        for host in ([name] if name else _LIBPQ_DEFAULT_HOSTS)
    ]


def _host_and_port(item: str) -> tuple[str, str]:
    """Of ``host:5432``, ``[::1]:5432``, ``host``, or a folder with its slashes percent-encoded."""
    if item.startswith("["):
        host, _, port = item[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = item.partition(":")
    return unquote(host), port

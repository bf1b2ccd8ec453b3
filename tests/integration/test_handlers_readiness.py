"""Whether Postgres accepts connections, asked without a driver."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from worker.local.readiness import postgres_accepts

STARTING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
NO_SUCH_USER = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def error(fields: bytes) -> bytes:
    return b"E" + (4 + len(fields)).to_bytes(4) + fields


def answering(answer: bytes | None) -> Talk:
    """What a server does that answers the first message so, or never."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(length - 4)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    return talk


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[str]:
    """Its URL."""
    async with await asyncio.start_server(answering(answer), "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield f"postgresql://user:secret@{host}:{port}/db"


async def test_a_running_server_accepts(database_url: str) -> None:
    """Before any password is asked for; a wrong one, or a database that is not there, makes no difference."""
    parts = urlsplit(database_url)
    assert await postgres_accepts(database_url)
    assert await postgres_accepts(f"postgresql://nobody@{parts.hostname}:{parts.port}/nowhere?sslmode=prefer")


async def test_a_socket_file_is_asked_too() -> None:
    """In the query, or in the place of the host with its slashes encoded."""
    # pytest's own folders have names too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        path = f"{folder}/.s.PGSQL.6000"
        async with await asyncio.start_unix_server(answering(b"R\0\0\0\x08\0\0\0\0"), path):
            assert await postgres_accepts(f"postgresql:///db?host={folder}&port=6000")
            assert await postgres_accepts(f"postgresql://{quote(folder, safe='')}:6000/db")
            assert not await postgres_accepts(f"postgresql:///db?host={folder}")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(STARTING), False),
        (error(NO_SUCH_USER), True),
        (b"R\0\0\0\x08\0\0\0\0", True),
        (b"", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"E\xff\xff\xff\xff", False),
        (b"E\0\0\0\0", False),
    ],
)
async def test_the_first_answer_decides(answer: bytes, expected: bool) -> None:
    """Starting up is no; every other error is yes, as for `pg_isready`; another protocol is no."""
    async with server(answer) as url:
        assert await postgres_accepts(url) is expected


async def test_silence_is_no_within_the_time_given() -> None:
    """Nobody waits longer."""
    started = time.monotonic()
    async with server(None) as url:
        assert not await postgres_accepts(url, within=0.3)
    assert time.monotonic() - started < 1


async def test_one_of_several_hosts_is_enough() -> None:
    """As in a URL of a primary and its stand-by."""
    async with server(b"R\0\0\0\x08\0\0\0\0") as url:
        address = urlsplit(url).netloc.rpartition("@")[2]
        assert await postgres_accepts(f"postgresql://user@127.0.0.1:1,{address}/db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/db",
        "postgresql://no.such.host.invalid/db",
        "postgresql://h:port/db",
        "postgresql://[::1",
        "postgresql://127.0.0.1:99999/db",
        "postgresql:///db?host=/nowhere",
    ],
)
async def test_what_cannot_be_reached_is_no(url: str) -> None:
    """Refused, unknown, or no address at all: an answer, never an exception."""
    assert not await postgres_accepts(url, within=1)

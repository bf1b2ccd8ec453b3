"""Limits on the bodies of requests that are not Slack's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Message, Scope

from handlers.form_limit import MAX_FORM_BYTES, FormLimit


async def _length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


FORMS = Starlette(routes=[Route("/form", _length, methods=["POST"])])
APP = Starlette(
    routes=[Route("/own", _length, methods=["POST"]), Mount("/console", FORMS)],
    middleware=[Middleware(FormLimit, exempt=("/own",))],
)


async def _pieces(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 1_024


@pytest.mark.parametrize(
    ("path", "kilobytes", "status"),
    [("/console/form", 64, 200), ("/console/form", 65, 413), ("/own", 65, 200), ("/nowhere", 65, 404)],
)
@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_form_has_a_limit(path: str, kilobytes: int, status: int, is_announced: bool) -> None:
    """A form beyond its limit is refused, by announced length or by its bytes; a path may have its own."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://app") as http:
        content = b"x" * 1_024 * kilobytes if is_announced else _pieces(kilobytes)
        answer = await http.post(path, content=content)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == str(1_024 * kilobytes)


@pytest.mark.parametrize("length", [b"1" * 30, b"x", b"-1"])
async def test_a_length_that_is_none_is_not_read(length: bytes) -> None:
    """A body whose announced length is malformed or absurd gets a 413 and is not read."""
    answers, asked = await _post([(b"content-length", length)], b"x", more=True)
    assert (answers[0]["status"], asked) == (413, 0)


async def test_a_client_that_hangs_up_is_no_fault_of_ours() -> None:
    """A client that hangs up in the midst of a form raises nothing."""
    await _post([(b"content-length", str(MAX_FORM_BYTES).encode())], b"half", more=True)


async def _post(headers: list[tuple[bytes, bytes]], body: bytes, *, more: bool) -> tuple[list[Message], int]:
    answers: list[Message] = []
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        if asked > 1:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(message: Message) -> None:
        answers.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/console/form",
        "raw_path": b"/console/form",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    await APP(scope, receive, send)
    return answers, asked

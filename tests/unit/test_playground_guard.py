"""Who may use the playground: a page of ours in a browser on this machine, and nobody else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sandbox.playground.guard import TOKEN_HEADER, Guard, refusal_of

PORT, TOKEN = 7000, "the-pages-token"
OURS = {
    "host": f"127.0.0.1:{PORT}",
    "origin": f"http://127.0.0.1:{PORT}",
    "sec-fetch-site": "same-origin",
    "content-type": "application/json",
    TOKEN_HEADER: TOKEN,
}


def status(
    method: str = "POST",
    path: str = "/playground/act/message",
    peer: str | None = "127.0.0.1",
    more: tuple[tuple[str, str], ...] = (),
    **changed: str | None,
) -> int | None:
    """Return the status of the refusal; None if the request is let in. ``_`` in a name is ``-``."""
    named = {**OURS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    pairs = [*((name, value) for name, value in named.items() if value is not None), *more]
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
        "client": (peer, 50_000) if peer is not None else None,
    }
    refusal = refusal_of(scope, PORT, TOKEN)
    return refusal.status if refusal else None


def test_the_page_may_act() -> None:
    """The page's own requests are let in, by any spelling of loopback."""
    assert status() is None
    for name in (f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}", f"127.8.8.8:{PORT}"):
        assert status(host=name, origin=f"http://{name}") is None
    assert status(sec_fetch_site=None) is None, "an old browser does not send it"


@pytest.mark.parametrize("peer", ["10.0.0.7", "::ffff:10.0.0.7", "192.168.1.2", "", None])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_peers_elsewhere_are_refused(method: str, peer: str | None) -> None:
    """A peer elsewhere, or without an address, is refused."""
    assert status(method, peer=peer) == 403


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-host", "forwarded", "via", "x-real-ip"])
def test_proxies_are_refused(name: str) -> None:
    """A request that a proxy on this machine passes on is refused: its peer is not the browser."""
    assert status(more=((name, "127.0.0.1"),)) == 403


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example.com",
        f"rebound.example.com:{PORT}",
        f"127.0.0.1.example.com:{PORT}",
        f"localhost.example.com:{PORT}",
        "127.0.0.1",
        "127.0.0.1:7001",
        f"0.0.0.0:{PORT}",
        f"10.0.0.7:{PORT}",
        f"user@127.0.0.1:{PORT}",
        "",
        None,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_names_are_refused(method: str, host: str | None) -> None:
    """A name that may resolve to this machine, and another port, are refused, also for reading."""
    origin = f"http://{host}" if host else None
    assert status(method, "/playground/", host=host, origin=origin) == 421


def test_two_hosts_are_refused() -> None:
    """A request with two Host headers is refused."""
    assert status(more=(("host", f"127.0.0.1:{PORT}"),)) == 421


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "null",
        "",
        f"https://127.0.0.1:{PORT}",
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        f"http://localhost:{PORT}",
        f"http://127.0.0.1:{PORT}/x",
        f"http://127.0.0.1:{PORT}.example.com",
        "file://",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_origins_are_refused(method: str, origin: str) -> None:
    """A page of another origin is refused, also of another port of this machine, also for reading."""
    assert status(method, origin=origin) == 403


def test_what_changes_something_needs_origin_and_token() -> None:
    """An act without Origin, without the token, with another one, or by another site is refused."""
    assert status(origin=None) == 403
    assert status(x_playground_token=None) == 403
    assert status(x_playground_token="the-pages-tokem") == 403
    for site in ("cross-site", "same-site", "none"):
        assert status(sec_fetch_site=site) == 403
    assert status(more=(("origin", OURS["origin"]),)) == 403, "two of them"


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "", None]
)
def test_acts_are_json(kind: str | None) -> None:
    """What a form of another site can send is no act."""
    assert status(content_type=kind) == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_count_as_acts(method: str) -> None:
    """Every method but GET and HEAD is judged as one that changes something."""
    assert status(method, x_playground_token=None) == 403


def test_reading() -> None:
    """A link from anywhere may open the page; another site's page reads no state and no feed."""
    for path in ("/playground/", "/playground/state", "/playground/feed", "/playground/static/app.js"):
        assert read(path) is None
        assert read(path, "none") is None
        assert read(path, "cross-site") == (None if path == "/playground/" else 403)


def read(path: str, fetch_site: str = "same-origin") -> int | None:
    """Return the status for a browser's GET."""
    return status(
        "GET", path, origin=None, content_type=None, x_playground_token=None, sec_fetch_site=fetch_site
    )


async def test_each_response_has_the_headers() -> None:
    """Refusals and pages alike forbid foreign scripts, frames and caches."""
    app = Guard(Starlette(routes=[Route("/", lambda request: PlainTextResponse("x"))]), PORT, TOKEN)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
        wrong = await client.get("/", headers={"host": "evil.example.com"})
        answers = [await client.get("/playground/"), wrong, await client.get("/")]
    assert [answer.status_code for answer in answers] == [404, 421, 200]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers

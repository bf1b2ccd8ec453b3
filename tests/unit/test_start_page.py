"""Access to the start page: from this machine alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from handlers.start_page import StartPage


def status(page: Path, peer: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> int:
    """Return the status of the response to a peer; None is one without an address, on a Unix socket."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": list(headers),
        "client": peer,
    }
    return StartPage(page).show(Request(scope)).status_code


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_peers_on_this_machine(tmp_path: Path, address: str) -> None:
    """A peer on loopback gets the page once it is there, unless a proxy forwarded the request."""
    page = tmp_path / "start.html"
    assert status(page, (address, 50_000)) == 404
    page.write_text("everything")
    assert status(page, (address, 50_000)) == 200
    assert status(page, (address, 50_000), (b"x-forwarded-for", b"")) == 404


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "192.168.1.2", "::ffff:10.0.0.7", "fe80::1", "localhost", ""]
)
def test_peers_elsewhere(tmp_path: Path, address: str) -> None:
    """A peer elsewhere gets a 404, also from a private network or without an address."""
    page = tmp_path / "start.html"
    page.write_text("everything")
    assert status(page, (address, 50_000)) == 404
    assert status(page, None) == 404

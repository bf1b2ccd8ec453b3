"""Pages for browsers on a real web process: under which names and to which peers they are shown."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.web import WebProcess

NAME = "threadsync.example.com"
PAGE = "<title>everything on this machine</title>"
PASSWORD = "pälindromes-of-42-ostriches"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """Start a web process with a start page and a console, without a broker or a database."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "start.html").write_text(PAGE)
    settings = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/nowhere",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "THREADSYNC_CONSOLE_PASSWORD": PASSWORD,
        "THREADSYNC_START_PAGE": str(folder / "start.html"),
        "PUBLIC_HOSTS": f"{NAME}, ops.example.com:8443",
    }
    with WebProcess({**os.environ, **settings}, folder / "web.log") as web:
        yield web


def sent(web: WebProcess, *lines: str) -> tuple[int, str]:
    """Send these lines, and return the response's status and text."""
    port = int(web.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        with connection.makefile("rb") as stream:
            answer = stream.read().decode()
    return int(answer.split(" ", 2)[1]), answer


def got(web: WebProcess, path: str, *headers: str) -> tuple[int, str]:
    return sent(web, f"GET {path} HTTP/1.1", *headers)


@pytest.mark.parametrize("path", ["/", "/console/sign-in", "/console/static/console.css"])
def test_pages_are_shown_under_known_names(web: WebProcess, path: str) -> None:
    """A page is shown under known names, whatever their case, last dot or port, and others get 421."""
    port = web.url.rpartition(":")[2]
    known = (
        NAME,
        NAME.upper(),
        f"{NAME}.",
        f"{NAME}:443",
        "ops.example.com:8443",
        f"localhost:{port}",
        "[::1]",
    )
    for host in known:
        assert got(web, path, f"Host: {host}")[0] == 200, host
    for host in (
        "evil.example",
        f"{NAME}.evil.example",
        "ops.example.com",
        f"{NAME}@evil.example",
        "",
        "0.0.0.0",
    ):
        status, answer = got(web, path, f"Host: {host}")
        assert status == 421, host
        assert "PUBLIC_HOSTS" in answer
        assert PAGE not in answer


def test_what_names_no_host_or_several_sees_no_page(web: WebProcess) -> None:
    """A request with no host, two hosts or a full address gets no page."""
    for path in ("/", "/console/sign-in"):
        assert got(web, path, f"Host: {NAME}", "Host: evil.example")[0] in (400, 421)
        assert got(web, path, f"Host: {NAME}", f"Host: {NAME}")[0] in (400, 421)
        assert sent(web, f"GET {path} HTTP/1.0")[0] == 421
        assert got(web, path)[0] in (400, 421)
        assert got(web, f"http://evil.example{path}", f"Host: {NAME}")[0] in (404, 421)
        assert got(web, f"http://{NAME}{path}", "Host: evil.example")[0] in (404, 421)


def test_machines_ask_under_any_name(web: WebProcess) -> None:
    """Health, readiness and Slack's endpoint are served under any name."""
    # Not ready, as there is no broker and no database.
    assert got(web, "/readyz", "Host: evil.example")[0] == 503
    for host in ("evil.example", "10.0.0.7:3000", "handlers", ""):
        assert got(web, "/healthz", f"Host: {host}")[0] == 200
        assert sent(web, "POST /slack/events HTTP/1.1", f"Host: {host}", "Content-Length: 0")[0] == 401


def test_no_answer_leads_to_a_name_that_a_request_made_up(web: WebProcess) -> None:
    """A redirect for a missing or extra slash names no host."""
    for path in ("/console", "/healthz/", "/slack/events/", "/console/sessions/", "/console/sign-in/"):
        _, answer = got(web, path, "Host: evil.example")
        assert "evil.example" not in answer
    status, answer = got(web, "/console", f"Host: {NAME}")
    assert status == 307
    assert "\r\nlocation: /console/\r\n" in answer


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-For:",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: localhost",
        "X-FORWARDED-PORT: 443",
        "Forwarded: for=127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Via: 1.1 proxy",
        "CF-Connecting-IP: 127.0.0.1",
        "True-Client-IP: 127.0.0.1",
    ],
)
def test_the_start_page_does_not_go_through_a_proxy(web: WebProcess, header: str) -> None:
    """The start page gets 404 for a request with any header of a proxy."""
    status, answer = got(web, "/", "Host: localhost", header)
    assert status == 404
    assert PAGE not in answer
    assert got(web, "/", "Host: localhost")[0] == 200


@pytest.mark.parametrize(
    ("header", "is_secure"),
    [
        ("Host: localhost", False),
        ("Host: localhost\r\nX-Forwarded-Proto: https", True),
        (f"Host: {NAME}\r\nX-Forwarded-Proto: https", True),
        # A public name is reached by HTTPS even when the proxy does not say so or is not trusted.
        (f"Host: {NAME}", True),
        (f"Host: {NAME}\r\nX-Forwarded-Proto: http", True),
    ],
)
def test_the_cookie_is_secure_behind_the_proxy(web: WebProcess, header: str, is_secure: bool) -> None:
    """The console's cookie is Secure, except on loopback without a proxy."""
    _, answer = got(web, "/console/sign-in", header)
    [cookie] = [line for line in answer.splitlines() if line.lower().startswith("set-cookie:")]
    assert ("; secure" in cookie.lower()) is is_secure
    assert "httponly" in cookie.lower()


def test_plain_http_under_a_public_name_says_what_is_wrong(web: WebProcess) -> None:
    """A sign-in by plain HTTP under a public name gets 403 with advice to use HTTPS."""
    form = ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 0")
    for host, is_said in ((NAME, True), ("localhost", False)):
        status, answer = sent(web, "POST /console/sign-in HTTP/1.1", f"Host: {host}", *form)
        assert status == 403
        assert ("Use HTTPS" in answer) is is_said


def test_a_style_sheet_comes_without_a_cookie(web: WebProcess) -> None:
    """Static files, and 404s below their address, set no cookie."""
    for path in ("/console/static/console.css", "/console/static/nothing.css"):
        assert "set-cookie" not in got(web, path, f"Host: {NAME}")[1].lower()

"""Debian's nginx with the configuration that ships, between Slack and a real web process."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.slack.requests import SlackRequest, app_mention, sign, signed_request
from tests.support.console_client import PASSWORD, sign_in, web_process
from tests.support.nginx import Nginx, needs_nginx
from tests.support.slack_app import CHANNEL, SECRET, THREAD, USER, queued
from tests.support.waiting import wait_until
from tests.support.web import WebProcess

pytestmark = needs_nginx

A_CLIENT = "127.0.0.9"


@pytest.fixture
def web(tmp_path: Path, broker_url: str) -> Iterator[WebProcess]:
    env = {**os.environ, "CELERY_BROKER_URL": broker_url, "SLACK_API_URL": "http://127.0.0.1:1/api/"}
    with WebProcess(env, tmp_path / "web.log") as web:
        yield web


@pytest.fixture
def nginx(tmp_path: Path, web: WebProcess) -> Iterator[Nginx]:
    with Nginx(tmp_path, web.port) as nginx:
        yield nginx


def client(nginx: Nginx) -> httpx.Client:
    """Return a client with its own address that trusts the proxy's certificate."""
    trust = ssl.create_default_context(cafile=str(nginx.ca))
    return httpx.Client(
        base_url=nginx.url,
        transport=httpx.HTTPTransport(verify=trust, local_address=A_CLIENT),
        timeout=20,
    )


def post(http: httpx.Client, request: SlackRequest, **more: str) -> httpx.Response:
    return http.post("/slack/events", content=request.body, headers={**request.headers, **more})


def test_events_come_through(nginx: Nginx, web: WebProcess, broker_url: str) -> None:
    """Events reach the web process through the proxy, with the client's real address in the log."""
    request = signed_request(SECRET, app_mention(CHANNEL, USER, "hi", ts=THREAD))
    with client(nginx) as http:
        answer = post(http, request, **{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"})
        assert answer.status_code == 200
        assert post(http, sign("another secret", b"{}")).status_code == 401
        assert post(http, sign(SECRET, b"x" * 900_000)).status_code == 400
        assert post(http, sign(SECRET, b"x" * 1_048_577)).status_code == 413
    assert len(queued(broker_url)) == 1
    wait_until(
        lambda: f'{A_CLIENT}:0 - "POST /slack/events HTTP/1.1" 200' in web.log, "the address is logged"
    )
    assert "192.0.2.1" not in web.log


def test_what_is_for_this_machine_is_not_shown(nginx: Nginx) -> None:
    """The proxy hides the start page, health and metrics, and passes the console on."""
    with client(nginx) as http:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/slack/events/", "/slack"):
            answer = http.get(path)
            assert (answer.status_code, answer.headers["server"]) == (404, "nginx")
        assert http.get("/slack/events").status_code == 403
        # The redirect adds the missing slash and does not use the client's host name.
        answer = http.get("/console", headers={"host": "evil.example"})
        assert (answer.status_code, answer.headers["location"]) == (301, "/console/")
        # Without a password the web process has no console.
        assert http.get("/console/").text == "Not Found"


def test_people_sign_in_behind_it(tmp_path: Path, database_url: str, broker_url: str) -> None:
    """A user signs in to the console through the proxy, even at a port of its own."""
    with (
        web_process(tmp_path, database_url, broker_url) as web,
        Nginx(tmp_path, web.port) as nginx,
        client(nginx) as http,
    ):
        http.headers["origin"] = nginx.url
        assert sign_in(http, "ada", PASSWORD).status_code == 303
        assert http.get("/console/").status_code == 200
        wait_until(lambda: f"client={A_CLIENT}" in web.log, "the address is logged")


def test_half_a_body_waits_at_the_proxy(nginx: Nginx, web: WebProcess) -> None:
    """Half a body stays at the proxy, while other events pass."""
    trust = ssl.create_default_context(cafile=str(nginx.ca))
    before = _connections_of(web)
    with (
        socket.create_connection(("127.0.0.1", nginx.port)) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as half,
    ):
        headers = "".join(f"{name}: {value}\r\n" for name, value in sign(SECRET, b"").headers.items())
        half.sendall(
            f"POST /slack/events HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 9\r\n\r\n{{".encode()
        )
        with client(nginx) as http:
            assert post(http, sign("another secret", b"{}")).status_code == 401
        wait_until(lambda: _connections_of(web) <= before + 1, "only the other one's connection is there")
        assert web.log.count("POST /slack/events") == 1


def _connections_of(web: WebProcess) -> int:
    """Count the sockets that the web process holds."""
    folder = Path(f"/proc/{web.child.pid}/fd")
    return sum(1 for link in folder.iterdir() if _target(link).startswith("socket:"))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""

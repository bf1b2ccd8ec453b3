"""The sandbox Jira as a server: start, stop, ports, and the command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

from sandbox.jira.faults import Hang
from sandbox.jira.server import JiraSandbox, Login
from tests.support.jira_clients import ENDED, PATIENCE
from tests.support.jira_requests import create_body


def test_a_stopped_jira_refuses_connections_and_comes_back() -> None:
    """A stopped sandbox refuses connections, and comes back on the same port with the same tickets."""
    jira = JiraSandbox()
    jira.site.fail("myself", Hang(60, committed=False))
    with httpx.Client(auth=(jira.email, jira.token), timeout=PATIENCE, trust_env=False) as http:
        with jira:
            url = jira.url
            assert http.post(f"{url}/rest/api/3/issue", json=create_body()).status_code == 201
            with pytest.raises(httpx.ReadTimeout):
                http.get(f"{url}/rest/api/3/myself")
            started = time.monotonic()
        assert time.monotonic() - started < 5
        with pytest.raises(httpx.ConnectError):
            http.get(f"{url}/rest/api/3/myself")
        with jira:
            assert jira.url == url
            assert http.get(f"{url}/rest/api/3/issue/PROJ-1").status_code == 200


def test_a_port_that_is_taken_is_an_error() -> None:
    """A taken port raises an error at the start."""
    with JiraSandbox() as jira:
        port = int(jira.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            JiraSandbox(port=port).start()


def test_it_runs_by_itself() -> None:
    """The sandbox's command prints its settings, drops responses as told, and ends at Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "sandbox.jira.server",
        "--port",
        "0",
        "--project",
        "SHOP",
        "--dropped",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = "".join(process.stdout.readline() for _ in range(5))
            settings = dict(re.findall(r"(\w+)=(\S+)", printed))
            account = (settings["JIRA_EMAIL"], settings["JIRA_API_TOKEN"])
            body = create_body(project={"key": settings["JIRA_PROJECT_KEY"]})
            with pytest.raises(ENDED):
                httpx.post(
                    f"{settings['JIRA_URL']}/rest/api/3/issue", json=body, auth=account, trust_env=False
                )
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest == "1 tickets were made. Faults met: {'CommitThenDrop': 1}\n"


def test_its_command_sets_up_logins_and_fields() -> None:
    """The command prints the settings of a login, closes the site after a ticket, and issues short tokens."""
    options = ("--port=0", "--login=oauth", "--token-seconds=30", "--fields", "--scoped-after=1")
    command = [sys.executable, "-m", "sandbox.jira.server", *options]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        httpx.Client(timeout=10, trust_env=False) as http,
    ):
        try:
            assert process.stdout is not None
            printed = "".join(process.stdout.readline() for _ in range(8))
            assert printed.endswith("Ctrl-C ends it.\n")
            settings = dict(re.findall(r"(\w+)=(\S+)", printed))
            site, gateway, auth = (
                settings["JIRA_URL"],
                settings["JIRA_API_GATEWAY"],
                ("bot@example.com", "sandbox"),
            )
            desk = create_body(project={"key": "DESK"}, issuetype={"name": "Question"})
            assert http.post(f"{site}/rest/api/3/issue", json=desk, auth=auth).status_code == 201
            assert http.post(f"{site}/rest/api/3/issue", json=desk, auth=auth).status_code == 401
            credentials = {
                "grant_type": "client_credentials",
                "client_id": settings["JIRA_OAUTH_CLIENT_ID"],
                "client_secret": settings["JIRA_OAUTH_CLIENT_SECRET"],
            }
            issued = http.post(settings["JIRA_OAUTH_TOKEN_URL"], json=credentials).json()
            assert issued["expires_in"] == 30
            cloud_id = http.get(f"{site}/_edge/tenant_info").json()["cloudId"]
            headers = {"Authorization": f"Bearer {issued['access_token']}"}
            base = f"{gateway}/ex/jira/{cloud_id}/rest/api/3"
            assert http.post(f"{base}/issue", json=desk, headers=headers).json()["key"] == "DESK-2"
        finally:
            process.kill()


@pytest.mark.parametrize("login", ["classic", "scoped", "oauth", "datacenter"])
def test_settings_for_each_login(login: Login) -> None:
    """The settings that are told for a login are those with which it works."""
    with JiraSandbox() as jira, httpx.Client(timeout=PATIENCE, trust_env=False) as http:
        settings = jira.settings(login)
        base, version = settings["JIRA_URL"], "3"
        auth: tuple[str, str] | None = None
        headers = {}
        if "JIRA_API_GATEWAY" in settings:
            cloud_id = http.get(f"{base}/_edge/tenant_info").json()["cloudId"]
            base = f"{settings['JIRA_API_GATEWAY']}/ex/jira/{cloud_id}"
        if "JIRA_OAUTH_TOKEN_URL" in settings:
            client = {
                "grant_type": "client_credentials",
                "client_id": settings["JIRA_OAUTH_CLIENT_ID"],
                "client_secret": settings["JIRA_OAUTH_CLIENT_SECRET"],
            }
            token = http.post(settings["JIRA_OAUTH_TOKEN_URL"], json=client).json()["access_token"]
            headers["Authorization"] = f"Bearer {token}"
        elif "JIRA_EMAIL" in settings:
            auth = (settings["JIRA_EMAIL"], settings["JIRA_API_TOKEN"])
        else:
            version = "2"
            headers["Authorization"] = f"Bearer {settings['JIRA_API_TOKEN']}"
        answer = http.get(f"{base}/rest/api/{version}/myself", auth=auth, headers=headers)
        assert answer.status_code == 200
        # Neither of them is the other's address, as our settings demand.
        assert settings.get("JIRA_API_GATEWAY") != settings["JIRA_URL"]


def test_both_ports_stay_the_same() -> None:
    """A sandbox that is started again has both of its ports again."""
    jira = JiraSandbox()
    with jira:
        addresses = (jira.url, jira.gateway_url)
    with jira:
        assert (jira.url, jira.gateway_url) == addresses

"""Helpers inside ``deploy/try-compose``: serve a Jira and a Slack, request a ticket, look for it.

python -m sandbox.trial serve     a Jira on port 8080 and a Slack on port 8081 of loopback, until TERM
python -m sandbox.trial ask       ask the Slack endpoint for a ticket, as Slack does
python -m sandbox.trial ticket    wait for the one ticket in the sandbox's Jira, and print its key
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

import httpx
import typer

from handlers.ticket_form import DESCRIPTION, SUMMARY, ticket_form
from sandbox.jira.server import JiraSandbox
from sandbox.slack.requests import Payload, app_mention, button_click, signed_request, view_submission
from sandbox.slack.server import SlackSandbox
from worker.cli.stop_request import StopRequest

JIRA_PORT: Final = 8080
SLACK_PORT: Final = 8081
_WRITTEN: Final = "Tried out by deploy/try-compose"
_WAIT_SECONDS: Final = 90

app = typer.Typer(help="For deploy/try-compose.", no_args_is_help=True)


@app.command()
def serve(jira_port: int = JIRA_PORT, slack_port: int = SLACK_PORT) -> None:
    """Serve a Jira and a Slack, until TERM."""
    jira, slack = JiraSandbox(port=jira_port), SlackSandbox(port=slack_port)
    with StopRequest() as request, jira, slack:
        while not request.wanted():
            time.sleep(0.1)


@app.command()
def ask(url: str = "http://127.0.0.1:3000/slack/events") -> None:
    """Mention the bot in a thread, and send the form for its ticket. Exit code 1 if either is refused."""
    thread, channel, user = f"{time.time():.6f}", "C0TRIAL", "U0TRIAL"
    click = button_click("threadsync_create", thread, channel, user, message_ts=thread, thread_ts=thread)
    written = {SUMMARY: _WRITTEN, DESCRIPTION: "It may be deleted."}
    _deliver(url, app_mention(channel, user, "<@U0SANDBOXBOT> hello", ts=thread))
    _deliver(url, view_submission(ticket_form(click), written, user))


@app.command()
def ticket(jira_port: int = JIRA_PORT) -> None:
    """Print the ticket's key. Exit code 1: none within 90 s, or more than one."""
    until = time.monotonic() + _WAIT_SECONDS
    keys: list[str] = []
    while not keys and time.monotonic() < until:
        keys = _keys(f"http://127.0.0.1:{jira_port}")
        time.sleep(0.5)
    typer.echo(" ".join(keys) or "no ticket")
    sys.exit(0 if len(keys) == 1 else 1)


def _deliver(url: str, payload: Payload) -> None:
    request = signed_request(_signing_secret(), payload)
    answer = httpx.post(url, content=request.body, headers=dict(request.headers), timeout=5)
    typer.echo(f"{answer.status_code} {answer.text[:200]}")
    if not answer.is_success:
        sys.exit(1)


def _signing_secret() -> str:
    path = os.environ.get("SLACK_SIGNING_SECRET_FILE")
    return Path(path).read_text().strip() if path else os.environ["SLACK_SIGNING_SECRET"]


def _keys(jira: str) -> list[str]:
    sandbox = JiraSandbox()
    body = {"jql": 'project = "PROJ" ORDER BY created DESC', "fields": ["summary"], "maxResults": 50}
    login = (sandbox.email, sandbox.token)
    answer = httpx.post(f"{jira}/rest/api/3/search/jql", json=body, auth=login, timeout=5)
    answer.raise_for_status()
    return [issue["key"] for issue in answer.json()["issues"] if issue["fields"]["summary"] == _WRITTEN]


if __name__ == "__main__":
    app()

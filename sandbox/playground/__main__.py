"""The playground's process: ``threadsync up`` starts ``python -m sandbox.playground``."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from sandbox.jira.server import JiraSandbox
from sandbox.jira.site import JiraSite
from sandbox.playground.app import Place, Playground
from sandbox.playground.cast import people_the_jira
from sandbox.playground.numbers import LastNumber
from sandbox.playground.server import PlaygroundServer
from sandbox.playground.workers import KillableWorkers, pid_noted
from sandbox.slack.server import SlackSandbox
from threadsync.hosts import is_loopback
from worker.cli.stop_request import StopRequest
from worker.local.sandboxed import (
    JIRA_TOKEN_VARIABLE,
    SANDBOX_EMAIL,
    SANDBOX_PROJECT,
    SECRET_VARIABLE,
    SLACK_TOKEN_VARIABLE,
    real_settings,
)

# A traceback must not show local variables: there are secrets among them.
app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_POLL_SECONDS: Final = 0.1
_SEARCH_LAG_SECONDS: Final = 2.0


@app.command()
def main(
    port: Annotated[int, typer.Option(help="Port of the page.")],
    slack_port: Annotated[int, typer.Option(help="Port of the sandbox Slack.")],
    jira_port: Annotated[int, typer.Option(help="Port of the sandbox Jira.")],
    web_url: Annotated[str, typer.Option(help="Address of the web process, on this machine.")],
    folder: Annotated[
        Path, typer.Option(help="Has NAME.pid of each worker; keeps the last ticket's number.")
    ],
) -> None:
    """Serve a Slack, a Jira and the page to try threadsync with, on loopback, until TERM.

    The signing secret and both tokens come in the environment. With a setting of a real Slack, Jira, Postgres
    or broker there it does not start.
    """
    if real := real_settings(os.environ):
        _refuse(f"the playground is not started beside real services; unset {', '.join(real)}")
    if not is_loopback(web_url):
        _refuse(f"signed requests go to this machine alone, not to {web_url}")
    secret, slack_token, jira_token = (
        os.environ.get(name, "") for name in (SECRET_VARIABLE, SLACK_TOKEN_VARIABLE, JIRA_TOKEN_VARIABLE)
    )
    if not (secret and slack_token and jira_token):
        _refuse("its secret and tokens are not set: start it by `threadsync up`")
    site = JiraSite([SANDBOX_PROJECT], search_lag=_SEARCH_LAG_SECONDS, email=SANDBOX_EMAIL, token=jira_token)
    people_the_jira(site)
    numbers = LastNumber(folder / "last-number", site)
    numbers.restore()
    slack, jira = SlackSandbox(token=slack_token, port=slack_port), JiraSandbox(site, jira_port)
    workers = KillableWorkers(partial(pid_noted, folder, os.getppid()))
    with StopRequest() as request, slack, jira:
        place = Place(port, f"{web_url}/slack/events", jira.url)
        playground = Playground(slack, site, place, secret, workers=workers)
        with PlaygroundServer(playground, port):
            while not request.wanted():
                numbers.keep()
                time.sleep(_POLL_SECONDS)


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"threadsync playground: {sentence}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    app()

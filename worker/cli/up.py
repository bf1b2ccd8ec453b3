"""``threadsync up``."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from worker.local.stack import LocalStack


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of data, logs and passwords. Default: below XDG_DATA_HOME.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the Slack endpoint.")] = None,
    without_flower: Annotated[bool, typer.Option("--without-flower", help="Do not start Flower.")] = False,
    without_playground: Annotated[
        bool, typer.Option("--without-playground", help="Without settings, connect nothing.")
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C.

    It starts Postgres and Valkey too, unless DATABASE_URL and CELERY_BROKER_URL name others. Where nothing
    names a Slack, a Jira or a server, it starts the playground: a page to try it without an account.
    """
    from rich.console import Console

    from threadsync.config import load_settings
    from threadsync.errors import ThreadsyncError
    from threadsync.extras import need_extra
    from worker.cli.stop_request import StopRequest
    from worker.local.data_dir import DataDir, default_data_dir
    from worker.local.sandboxed import real_settings, uses_sandbox
    from worker.local.stack import LocalStack
    from worker.operate.password_strength import refuse_weak_password

    need_extra("local", "uvicorn", "slack_bolt", "jinja2")
    # Fail here, not in a service that restarts forever.
    refuse_weak_password(load_settings())
    console = Console(highlight=False)
    real = real_settings(os.environ)
    may_play = not real and not without_playground and find_spec("sandbox") is not None
    folder = data_dir or default_data_dir()
    if may_play and data_dir is None:
        # Apart from the threads of a real Slack, whichever of both is used first.
        folder = folder.with_name(f"{folder.name}-playground")
    with_playground = may_play and uses_sandbox(DataDir(folder).kind(), real)
    with StopRequest() as request:
        stack = LocalStack(
            folder,
            port=port,
            with_flower=not without_flower,
            with_playground=with_playground,
            kind="sandbox" if with_playground else "connected" if real else None,
            report=partial(_say, console),
            hurried=request.urgent,
        )
        try:
            slack_is_given = stack.is_given("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN")
            has_login = stack.is_given("JIRA_API_TOKEN", "JIRA_OAUTH_CLIENT_SECRET")
            jira_is_given = stack.is_given("JIRA_URL") and has_login
            _say(console, f"Starting in {stack.path} …")
            stack.start(request.wanted)
            _show_addresses(console, stack)
            if with_playground:
                console.print(f"Try it in a browser: {stack.urls.playground}", soft_wrap=True)
            else:
                _show_what_is_missing(console, slack_is_given=slack_is_given, jira_is_given=jira_is_given)
            console.print("Ctrl-C stops everything.")
            stack.supervisor.wait(request.wanted)
        except ThreadsyncError:
            # An interrupted start is not a failure.
            if not request.wanted():
                raise
        finally:
            if request.wanted():
                _say(console, "Stopping; press Ctrl-C again to stop at once …")
            stack.stop()


def _say(console: Console, sentence: str) -> None:
    # After SIGHUP the terminal is gone; the services must be stopped all the same.
    with contextlib.suppress(OSError):
        console.print(sentence, markup=False)


def _show_addresses(console: Console, stack: LocalStack) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for address in stack.addresses():
        table.add_row(address.name, f"{address.value} ({address.note})" if address.note else address.value)
    console.print(table)


def _show_what_is_missing(console: Console, *, slack_is_given: bool, jira_is_given: bool) -> None:
    if not slack_is_given:
        console.print("Slack is not connected: SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN are not set.")
    if not jira_is_given:
        console.print(
            "Jira is not connected: JIRA_URL and a login, such as JIRA_API_TOKEN, are not set. "
            "No tickets are created."
        )

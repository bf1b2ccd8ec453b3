"""``threadsync up``."""

from __future__ import annotations

import contextlib
from functools import partial
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
) -> None:
    """Run everything on this machine until Ctrl-C.

    It starts Postgres and Valkey too, unless DATABASE_URL and CELERY_BROKER_URL name others.
    """
    from rich.console import Console

    from threadsync.config import load_settings
    from threadsync.errors import ThreadsyncError
    from threadsync.extras import need_extra
    from worker.cli.stop_request import StopRequest
    from worker.local.data_dir import default_data_dir
    from worker.local.stack import LocalStack
    from worker.operate.password_strength import refuse_weak_password

    need_extra("local", "uvicorn", "slack_bolt", "jinja2")
    # Fail here, not in a service that restarts forever.
    refuse_weak_password(load_settings())
    console = Console(highlight=False)
    with StopRequest() as request:
        stack = LocalStack(
            data_dir or default_data_dir(),
            port=port,
            with_flower=not without_flower,
            report=partial(_say, console),
            hurried=request.urgent,
        )
        try:
            slack_is_given = stack.is_given("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN")
            has_login = stack.is_given("JIRA_API_TOKEN", "JIRA_OAUTH_CLIENT_SECRET")
            jira_is_given = stack.is_given("JIRA_URL") and has_login
            _say(console, f"Starting in {stack.path} …")
            stack.start(request.wanted)
            _show(console, stack, slack_is_given=slack_is_given, jira_is_given=jira_is_given)
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


def _show(console: Console, stack: LocalStack, *, slack_is_given: bool, jira_is_given: bool) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for address in stack.addresses():
        table.add_row(address.name, f"{address.value} ({address.note})" if address.note else address.value)
    console.print(table)
    if not slack_is_given:
        console.print("Slack is not connected: SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN are not set.")
    if not jira_is_given:
        console.print(
            "Jira is not connected: JIRA_URL and a login, such as JIRA_API_TOKEN, are not set. "
            "No tickets are created."
        )
    console.print("Ctrl-C stops everything.")

"""The ``threadsync`` command and its subcommands."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_NEEDED = ("typer", "rich", "psycopg", "httpx", "celery")
if not all(map(find_spec, _NEEDED)):
    # Imported here, like all of threadsync in these modules: it loads pydantic, and help must be quick.
    from threadsync.extras import need_extra

    need_extra("worker", *_NEEDED)

import typer

from worker.cli import audit, channels, dead, forget, health, installation, sessions, syncs
from worker.cli.broker_users import broker_users
from worker.cli.demo import demo
from worker.cli.doctor import doctor
from worker.cli.flower import flower
from worker.cli.metrics import metrics
from worker.cli.migrate import migrate
from worker.cli.roles import roles
from worker.cli.up import up
from worker.cli.worker import worker

_PASSES_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    help="Turn each Slack thread into one Jira ticket, never two.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command(context_settings=_PASSES_ON)(demo)
app.command(context_settings={**_PASSES_ON, "help_option_names": []})(worker)
app.command()(doctor)
app.command()(flower)
app.command()(migrate)
app.command()(roles)
app.command()(broker_users)
app.command()(metrics)
app.add_typer(sessions.app, name="sessions")
app.add_typer(syncs.app, name="syncs")
app.add_typer(channels.app, name="channels")
app.add_typer(dead.app, name="dead")
app.add_typer(forget.app, name="forget")
app.add_typer(audit.app, name="audit")
app.add_typer(health.app, name="health")
app.add_typer(installation.app, name="installation")

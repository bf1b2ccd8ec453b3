"""``threadsync health``: health checks of processes, for containers."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from threadsync.liveness.state import Heartbeats

app = typer.Typer(
    help="Check the health of a process. Exit code 0: healthy. 1: not, with the reason on stdout.",
    no_args_is_help=True,
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def worker(
    node: Annotated[
        str | None, typer.Option(help="Node name, such as sessions@host. Default: every worker of this host.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Check that this host's workers take messages, and that their queues are served.

    Workers are not pinged: one that answers pings may still take no messages.
    """
    from threadsync.liveness.verdicts import (
        two_databases,
        verdict_on_no_worker,
        verdict_on_queue,
        verdict_on_worker,
    )

    signs = _signs()
    host = socket.gethostname()
    nodes = {
        name: sign
        for name, sign in signs.workers.items()
        if name == node or (node is None and name.partition("@")[2] == host)
    }
    if not nodes:
        verdicts = {node or f"*@{host}": verdict_on_no_worker(signs)}
    else:
        verdicts = {name: verdict_on_worker(sign, signs.refusal) for name, sign in nodes.items()}
        queues = {queue for sign in nodes.values() for queue in sign.queues}
        verdicts |= {f"queue {queue}": verdict_on_queue(signs, queue) for queue in sorted(queues)}
        verdicts |= _clocks_of(signs, nodes)
        verdicts |= database_verdict() or slack_verdict()
    if mixed := two_databases(signs):
        verdicts["databases"] = mixed
    _tell(verdicts | _spoilt(signs), as_json)


@app.command("socket")
def socket_mode(as_json: _Json = False) -> None:
    """Check that Slack's requests reach this host's Socket Mode process."""
    from threadsync.liveness.verdicts import Verdict, verdict_on_socket

    host, signs = socket.gethostname(), _signs()
    sockets = {name: silence for name, silence in signs.sockets.items() if name.rpartition(":")[0] == host}
    verdicts = {name: verdict_on_socket(silence) for name, silence in sockets.items()}
    # A killed process stays listed for an hour; what counts is that one listens.
    if any(verdict.state == "ok" for verdict in verdicts.values()):
        verdicts = {name: verdict for name, verdict in verdicts.items() if verdict.state == "ok"}
    verdicts = verdicts or {f"{host}:*": Verdict("deaf", "no heartbeat from such a process; is it running?")}
    _tell(verdicts | _spoilt(signs), as_json)


@app.command()
def beat(as_json: _Json = False) -> None:
    """Check that beat sends. It sends canaries through every queue, and enqueues what is due."""
    from threadsync.liveness.verdicts import verdict_on_beat

    signs = _signs()
    _tell({"beat": verdict_on_beat(signs), **_clocks_of(signs, {"beat"}), **_spoilt(signs)}, as_json)


def _clocks_of(signs: Heartbeats, names: Collection[str]) -> dict[str, Any]:
    from threadsync.liveness.verdicts import skewed_clocks

    skewed = skewed_clocks(signs)
    return {f"clock of {name}": verdict for name, verdict in skewed.items() if name in names}


def _spoilt(signs: Heartbeats) -> dict[str, Any]:
    from threadsync.liveness.verdicts import Verdict, invalid_heartbeats

    why = invalid_heartbeats(signs)
    return {"signs": Verdict("spoilt", why)} if why else {}


def _signs() -> Heartbeats:
    from threadsync.liveness.heartbeats import heartbeats_of
    from worker.celery import app as celery

    signs = heartbeats_of(celery)
    if signs is None:
        typer.echo("This broker keeps no heartbeats; Valkey, Redis and RabbitMQ do.", err=True)
        raise typer.Exit(1)
    return signs


def database_verdict() -> dict[str, Any]:
    """Report that the database is away. It is no failure, as a restart would not help."""
    from threadsync.config import get_settings
    from threadsync.errors import ThreadsyncError
    from threadsync.liveness.verdicts import Verdict
    from worker.cli.database import database

    if get_settings().database_url is None:
        return {}
    try:
        with database():
            return {}
    except ThreadsyncError as exc:
        return {"database": Verdict("away", f"{' '.join(str(exc).split())}; commands wait")}


def slack_verdict() -> dict[str, Any]:
    """Report that Slack refuses us, as workers recorded. It is no failure, as a restart would not help."""
    from threadsync.config import get_settings
    from threadsync.errors import ThreadsyncError
    from threadsync.liveness.verdicts import Verdict
    from worker.cli.database import database
    from worker.db.status_messages.store import StatusStore

    settings = get_settings()
    if not settings.is_in_slack or settings.database_url is None:
        return {}
    try:
        with database() as pool:
            trouble = StatusStore(pool).trouble()
    except ThreadsyncError:
        # A health check must not end a worker that waits for Postgres.
        return {}
    if trouble is None:
        return {"slack": Verdict("ok", "it accepts messages, as far as workers know")}
    since = f"{trouble.since:%Y-%m-%d %H:%M} UTC"
    return {"slack": Verdict("refused", f"{trouble.reason} since {since}; messages are waiting")}


def _tell(verdicts: dict[str, Any], as_json: bool) -> None:
    """Print the verdicts, and exit."""
    from worker.cli.output import print_json, tell

    if as_json:
        print_json({name: {"state": verdict.state, "why": verdict.why} for name, verdict in verdicts.items()})
    else:
        for name, verdict in verdicts.items():
            tell(f"{name}: {verdict.state}, {verdict.why}")
    # A wrong clock is reported, and is no failure: a restart would not help.
    raise typer.Exit(1 if any(verdict.state in ("deaf", "mixed") for verdict in verdicts.values()) else 0)

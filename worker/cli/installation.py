"""``threadsync installation``: the IDs of the database and of the broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli.signature import Actor, Reason, signed

if TYPE_CHECKING:
    from worker.db.installation.store import InstallationStore

app = typer.Typer(help="An installation: one database with one broker of its own.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_FRESH_SECONDS: Final = 20


@app.command()
def show(as_json: _Json = False) -> None:
    """Show the installation of this database and of the broker. Exit code 1: they differ."""
    from threadsync.broker.installation import owner_of
    from worker.cli.output import print_json, tell

    with _store() as store, _broker() as broker:
        ours, theirs = str(store.get()), owner_of(broker)
    if as_json:
        print_json({"installation": ours, "broker": theirs})
    else:
        whose = {None: "none yet; the first worker writes it", ours: "the same"}
        typer.echo(f"installation: {ours}")
        tell(f"broker: {whose.get(theirs) or f'another installation, {theirs}'}")
    raise typer.Exit(0 if theirs in (None, ours) else 1)


@app.command()
def adopt(reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """Take over the broker of another installation that is gone, with its messages.

    They will be carried out in this database. Its workers must have stopped; any that still run will stop
    within seconds.
    """
    from threadsync.broker.installation import owner_of, take_over
    from worker.cli.output import print_result

    by = signed(actor, reason)
    with _store() as store, _broker() as broker:
        ours, theirs = str(store.get()), owner_of(broker)
        if theirs != ours:
            _refuse_if_it_lives(broker, theirs)
            with store.adopting(theirs, actor=by.actor, reason=by.reason, acted_by=by.acted_by):
                take_over(broker, ours)
    changed = f"The broker now belongs to this installation; before: {theirs or 'none'}."
    sentence = "The broker already belongs to this installation." if theirs == ours else changed
    print_result({"installation": ours, "before": theirs}, sentence, as_json=as_json)


@app.command()
def renew(reason: Reason, actor: Actor = None, as_json: _Json = False) -> None:
    """Give this database a new ID, after it was copied from another installation.

    Stop its workers first, and start them afterwards. A broker with the old ID still belongs to the other
    installation: if it is a copy too, `threadsync installation adopt` takes it over.
    """
    from worker.cli.output import print_result

    by = signed(actor, reason)
    with _store() as store:
        before, now = store.renew(actor=by.actor, reason=by.reason, acted_by=by.acted_by)
    sentence = f"This installation is now {now}; it was {before}. Start its workers again."
    print_result({"installation": str(now), "before": str(before)}, sentence, as_json=as_json)


@contextmanager
def _store() -> Iterator[InstallationStore]:
    from worker.db.installation.store import InstallationStore
    from worker.db.pool import single_connection

    with single_connection() as connection:
        yield InstallationStore(connection)


@contextmanager
def _broker() -> Iterator[Any]:
    """Connect without checking the installation. Raises ``BrokerUnavailable``."""
    from threadsync.broker.errors import BROKER_ERRORS
    from threadsync.config import get_settings
    from threadsync.errors import BrokerUnavailable
    from worker.doctor.app import app_of

    settings = get_settings().model_copy(update={"installation_id": None})
    settings.require("broker_url")
    try:
        with app_of(settings).connection_for_write() as found:
            found.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            yield found
    except BROKER_ERRORS as exc:
        raise BrokerUnavailable(f"the broker does not answer: {type(exc).__name__}: {exc}") from exc


def _refuse_if_it_lives(broker: Any, theirs: str | None) -> None:
    from threadsync.errors import BrokerUnavailable, InvalidCommand
    from threadsync.liveness.heartbeats import look

    signs = look(broker.default_channel)
    if signs and signs.is_blind:
        raise BrokerUnavailable(f"the broker does not show its workers: {signs.refusal}")
    workers = signs.workers if signs else {}
    alive = [node for node, sign in workers.items() if sign.seconds < _FRESH_SECONDS]
    if theirs and alive:
        raise InvalidCommand(
            f"workers of {theirs} still use this broker: {', '.join(sorted(alive)[:20])}. Stop them first; "
            "or, if that installation continues, set CELERY_BROKER_URL to another database"
        )

"""``threadsync channels``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.signature import Actor, Reason, login_actor, signed

if TYPE_CHECKING:
    from threadsync.channel_settings.values import ChannelSettings, Reading
    from worker.db.channels.store import ChannelAct

app = typer.Typer(help="Slack channels: their settings, and their IDs.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its ID, such as C0123ABCD.")]


@app.command()
def show(channel_id: _Channel, as_json: _Json = False) -> None:
    """Show the settings of a channel, and who changed them."""
    from worker.cli.database import database
    from worker.cli.output import print_json
    from worker.db.channels.store import ChannelSettingsStore

    with database() as pool:
        store = ChannelSettingsStore(pool)
        reading, acts = store.get(channel_id), store.acts(channel_id)
    if as_json:
        faults = [str(fault) for fault in reading.faults]
        print_json(
            {**_json(channel_id, reading.settings), "faults": faults, "acts": [a.as_json() for a in acts]}
        )
        return
    _print(reading, acts)


@app.command("set")
def set_values(
    channel_id: _Channel,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUE …",
            help="project_key, issue_type, labels, priority, include or who. Lists are separated by commas.",
        ),
    ],
    reason: Reason,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Set settings of a channel. Its next tickets are made with them."""
    from threadsync.channel_settings.parsing import parse_words
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate.channel_settings import change
    from worker.operate.jira_directory import LookedUp

    wanted, by = parse_words(values), signed(actor, reason)
    with database() as pool:
        settings, sentence = change(pool, channel_id, wanted, by, LookedUp())
    print_result(_json(channel_id, settings), sentence, as_json=as_json)


@app.command()
def reset(
    channel_id: _Channel,
    reason: Reason,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this setting. Default: all of them.")
    ] = None,
    actor: Actor = None,
    as_json: _Json = False,
) -> None:
    """Remove a setting of a channel, or all of them."""
    from threadsync.channel_settings.parsing import named
    from worker.cli.database import database
    from worker.cli.output import print_result
    from worker.operate.channel_settings import reset as reset_settings

    only, by = named(name) if name else None, signed(actor, reason)
    with database() as pool:
        settings, sentence = reset_settings(pool, channel_id, only, by)
    print_result(_json(channel_id, settings), sentence, as_json=as_json)


@app.command()
def moved(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The old ID, such as G0123ABCD.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new ID, such as C0123ABCD.")],
    as_json: _Json = False,
) -> None:
    """Record that Slack gave a channel a new ID. Afterwards both IDs lead to the same sessions."""
    from worker.cli.database import database
    from worker.cli.output import print_json, tell
    from worker.db.sessions.store import SessionStore

    with database() as pool:
        move = SessionStore(pool).channel_moved(old, new, login_actor())
    if as_json:
        print_json(move.as_json())
        return
    tell(
        f"{move.summary()}. Slack is called with {move.newest_id}; sessions are stored under {move.home_id}."
    )
    if move.sessions:
        typer.echo(f"Threads with a session under both IDs: {move.sessions}. Each has one now.")


def _json(channel_id: str, settings: ChannelSettings) -> dict[str, Any]:
    values = {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.values().items()
    }
    return {"channel_id": channel_id, "settings": values, "unverified": sorted(settings.unverified)}


def _print(reading: Reading, acts: tuple[ChannelAct, ...]) -> None:
    from threadsync.channel_settings.words import lines
    from worker.cli.output import print_table, say

    found = lines(reading.settings)
    if found:
        print_table(
            ("Setting", "Value", "Remark"), [(name, value, remark or None) for name, value, remark in found]
        )
    else:
        typer.echo("The channel has no settings of its own.")
    if acts:
        typer.echo()
        rows = [(act.at, ", ".join(act.settings) or "all", act.by, act.reason) for act in acts]
        print_table(("When", "Settings", "Actor", "Reason"), rows)
    for fault in reading.faults:
        say(f"Ignored: {fault}.")

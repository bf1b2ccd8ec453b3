"""Who decides something on the command line, and why: both are recorded."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Annotated

import typer

from threadsync.errors import InvalidCommand

if TYPE_CHECKING:
    from threadsync.actors import NamedActor
    from worker.operate.decisions import Signature

Reason = Annotated[str, typer.Option(help="Why, for those who come after you.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this. Default: your login name.")]


def signed(actor: str | None, reason: str) -> Signature:
    """Who and why. Raises ``typer.BadParameter``."""
    from worker.operate.decisions import signature

    try:
        return signature(actor or _login_name(), reason, "cli")
    except InvalidCommand as exc:
        raise typer.BadParameter(str(exc)) from exc


def login_actor() -> NamedActor:
    """The actor of a command that asks for no reason: the login name, which is a claim like any other."""
    from threadsync.actors import NamedActor

    return NamedActor(name=_login_name(), via="cli")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container whose user has no name.
        return f"uid {os.getuid()}"

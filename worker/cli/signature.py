"""Actor and reason of a decision on the command line; both are recorded."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from threadsync.actors import NamedActor
    from worker.operate.decisions import Signature

Reason = Annotated[str, typer.Option(help="Reason, recorded in the audit trail.")]
Actor = Annotated[str | None, typer.Option(help="Your name. Default: the login name.")]


def signed(actor: str | None, reason: str) -> Signature:
    """Make the signature of a decision. Raises ``typer.BadParameter``."""
    from threadsync.errors import InvalidCommand
    from worker.operate.decisions import signature

    try:
        return signature(actor or _login_name(), reason, "cli")
    except InvalidCommand as exc:
        raise typer.BadParameter(str(exc)) from exc


def login_actor() -> NamedActor:
    """Return the login name as actor, for commands that ask for no reason."""
    from threadsync.actors import NamedActor

    return NamedActor(name=_login_name(), via="cli")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have no name.
        return f"uid {os.getuid()}"

"""Who decides something on the command line, and why: both are recorded."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

Reason = Annotated[str, typer.Option(help="Why, for those who come after you.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this. Default: your login name.")]


def signed(actor: str | None, reason: str) -> tuple[str, str]:
    """Who and why, neither blank. Raises ``typer.BadParameter``."""
    actor = (actor or _login_name()).strip()
    if not actor or not reason.strip():
        raise typer.BadParameter("neither the reason nor the actor may be blank")
    return actor, reason.strip()


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container whose user has no name.
        return f"uid {os.getuid()}"

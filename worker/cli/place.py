"""Find the session that an argument names, by its ID or by its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from threadsync.sessions import ThreadSession
    from worker.db.sessions.store import SessionStore

Place = Annotated[
    list[str], typer.Argument(metavar="ID | CHANNEL THREAD_TS", help="The session's ID, or its thread.")
]


def find_session(store: SessionStore, place: list[str]) -> ThreadSession:
    """Find the session. Raises ``SessionNotFound`` or ``InvalidCommand``."""
    from threadsync.errors import InvalidCommand, SessionNotFound

    if len(place) > 2:
        raise typer.BadParameter("give an ID, or a channel and a thread's timestamp")
    if len(place) == 2:
        session = store.get_session_by_thread(*place)
        if session is None:
            raise SessionNotFound(*place)
        return session
    session = store.get_session(place[0])
    if session is None:
        raise InvalidCommand(f"no session has the ID {place[0]}; see: threadsync sessions list")
    return session

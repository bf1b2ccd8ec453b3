"""The console's pages on channels. Each is a GET, runs in a thread, and changes nothing."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from console.pages import PAGE_SIZE, checked_id, given, signed_in
from console.view import View, to_path
from threadsync.channel_settings.values import FORMS, NAMES
from threadsync.channel_settings.words import lines, shown
from worker.db.channels.store import ChannelSettingsStore
from worker.db.pool import Pool


class ChannelPages:
    """The pages, over ``pool``."""

    def __init__(self, pool: Pool, view: View) -> None:
        self._pool = pool
        self._view = view

    @signed_in
    def channels(self, request: Request) -> Response:
        """List the channels that have settings, or find one by its ID or a known name."""
        if wanted := given(request, "channel"):
            found_id = self._view.names.channel_of(wanted)
            return to_path(request, f"/channels/{quote(found_id, safe='')}")
        after = given(request, "after") or ""
        found = ChannelSettingsStore(self._pool).configured(PAGE_SIZE + 1, after)
        return self._view.page(
            request,
            "channels",
            found=[
                (channel, lines(reading.settings), reading.faults) for channel, reading in found[:PAGE_SIZE]
            ],
            following=found[PAGE_SIZE - 1][0] if len(found) > PAGE_SIZE else None,
        )

    @signed_in
    def channel(self, request: Request, error: str | None = None, status: int = 200, **form: str) -> Response:
        """Show the settings of one channel, also after a refused change: ``form`` has what was filled in."""
        channel_id = checked_channel(request)
        store = ChannelSettingsStore(self._pool)
        reading = store.get(channel_id)
        values = {name: shown(value) for name, value in reading.settings.values().items()}
        return self._view.page(
            request,
            "channel",
            status,
            error=error,
            form=form,
            channel_id=channel_id,
            names=NAMES,
            forms=FORMS,
            values=values,
            unverified=reading.settings.unverified,
            faults=reading.faults,
            acts=store.acts(channel_id),
        )


def checked_channel(request: Request) -> str:
    """Return the channel that the path names. Raises ``InvalidCommand``."""
    return checked_id(request.path_params["id"])

"""Names of Slack's channels and people for pages: looked up in the background, shown when they are there.

A page waits for at most ``WAIT_SECONDS``, and not at all while Slack gives nothing.
"""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from typing import Final, Self

import structlog

from threadsync.config import Settings
from threadsync.errors import InvalidCommand
from worker.observe.line_limit import LineLimit
from worker.status_message.web_api import WebApi, web_api_of
from worker.thread.lookup import Names
from worker.thread.slack import Access, SlackReader, SlackWaits

WAIT_SECONDS: Final = 1.0
CALL_SECONDS: Final = 3.0
"""Longest lookup of one name."""

MOST_WAITING: Final = 500
LONGEST_SHOWN: Final = 60

_LOOKERS: Final = 4
_PAUSE_SECONDS: Final = 30.0
_LONGEST_PAUSE: Final = 300.0
_IDLE_SECONDS: Final = 60.0
_MAY_HAVE_NAMES: Final = ("U", "W", "C", "G")
_LONGEST_ID: Final = 32
_NO_FILES: Final = Access("", "")
"""Nothing is downloaded, so the reader has no need of the token."""

log = structlog.get_logger("threadsync.console")
_troubles: Final = LineLimit("names not looked up")


class SlackNames:
    """Names by Slack's ids, as texts to show. Threads look them up, and end when nothing is to be done.

    Args:
        new_calls: makes a client of Slack for each thread; None without a token, so that all ids stay ids.
    """

    def __init__(
        self,
        new_calls: Callable[[], WebApi | None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._new_calls = new_calls
        self._monotonic = monotonic
        self._names = Names(monotonic)
        self._changed = threading.Condition()
        # A dict for its order: what was asked for last is looked up first.
        self._waiting: dict[str, None] = {}
        self._under_way: set[str] = set()
        self._lookers = 0
        self._paused_until = 0.0

    @classmethod
    def of_settings(cls, settings: Settings) -> Self:
        """Return the names of the workspace whose bot token is in the settings; without one, none."""
        is_there = web_api_of(settings) is not None
        return cls(partial(web_api_of, settings, CALL_SECONDS) if is_there else None)

    def shown(self, slack_id: str) -> str | None:
        """Return the name to show; None if there is none yet. Never waits."""
        name = self._names.last(slack_id)
        clean = readable(name) if name else ""
        if not clean:
            return None
        return f"#{clean}" if slack_id.startswith(("C", "G")) else clean

    def look_up(self, ids: Collection[str], seconds: float = WAIT_SECONDS) -> bool:
        """Have names looked up; wait until they are there. Return True if any had been missing before."""
        wanted = [one for one in ids if self._is_to_be_asked(one)]
        if self._new_calls is None or not wanted:
            return False
        end = self._monotonic() + seconds
        with self._changed:
            if self._is_paused():
                return False
            for one in wanted:
                if one not in self._under_way:
                    self._waiting.pop(one, None)
                    self._waiting[one] = None
            while len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._start_lookers()
            self._changed.notify_all()
            while not self._is_paused() and any(map(self._is_on_its_way, wanted)):
                left = end - self._monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
        return True

    def channel_of(self, text: str) -> str:
        """Return the id of a channel named like ``#ops``, and any other text as it is.

        Raises ``InvalidCommand`` where not exactly one channel is known by the name.
        """
        if not text.startswith("#"):
            return text
        found = self._names.channels_named(text[1:].strip().lower())
        if len(found) == 1:
            return found[0]
        known = "several channels are" if found else "no channel that was shown here lately is"
        raise InvalidCommand(f"{known} named {readable(text)}: give the channel's ID")

    def _is_to_be_asked(self, slack_id: str) -> bool:
        is_one = slack_id.startswith(_MAY_HAVE_NAMES) and slack_id.isascii() and slack_id.isalnum()
        return is_one and len(slack_id) <= _LONGEST_ID and not self._names.has(slack_id)

    def _is_on_its_way(self, slack_id: str) -> bool:
        return slack_id in self._waiting or slack_id in self._under_way

    def _is_paused(self) -> bool:
        return self._monotonic() < self._paused_until

    def _start_lookers(self) -> None:
        while self._lookers < min(_LOOKERS, len(self._waiting)):
            try:
                threading.Thread(target=self._look, name="slack-names", daemon=True).start()
            except RuntimeError:
                # The machine has no more threads. Those that there are go on.
                self._pause(_PAUSE_SECONDS)
                return
            self._lookers += 1

    def _look(self) -> None:
        made = self._new_calls() if self._new_calls else None
        assert made  # noqa: S101 - else nothing is ever asked for
        with closing(made) as calls:
            while (slack_id := self._next()) is not None:
                pause = self._looked_up(slack_id, calls)
                with self._changed:
                    self._under_way.discard(slack_id)
                    if pause:
                        self._pause(pause)
                    self._changed.notify_all()

    def _next(self) -> str | None:
        """Take the next id; after a time without any, None, and the thread counts no more."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), _IDLE_SECONDS):
                self._lookers -= 1
                return None
            slack_id, _ = self._waiting.popitem()
            self._under_way.add(slack_id)
            return slack_id

    def _pause(self, seconds: float) -> None:
        self._paused_until = self._monotonic() + seconds
        self._waiting.clear()

    def _looked_up(self, slack_id: str, calls: WebApi) -> float | None:
        """Ask Slack; return the seconds for which nothing more is to be asked, None if it goes on."""
        try:
            self._names.of([slack_id], SlackReader(calls, _NO_FILES, self._monotonic))
        except SlackWaits as exc:
            why, seconds = str(exc), exc.seconds or _PAUSE_SECONDS
        except Exception as exc:  # noqa: BLE001 - a name is never worth a page
            why, seconds = type(exc).__name__, _PAUSE_SECONDS
        else:
            return None
        if _troubles.may_say():
            log.warning("names not looked up", reason=why)
        return min(seconds, _LONGEST_PAUSE)


def readable(name: str) -> str:
    """Return a name without characters that are invisible or turn the text around; long ones are cut."""
    visible = "".join(" " if char.isspace() else char for char in name if _is_visible(char))
    clean = " ".join(visible.split())
    return clean if len(clean) <= LONGEST_SHOWN else f"{clean[: LONGEST_SHOWN - 1]}…"


def _is_visible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char)[0] != "C"

"""Plan what of a thread goes to its ticket: nothing but the link, the text, or the text and which files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from threadsync.channel_settings.values import Include
from worker.db.ticket_steps.store import NewStep
from worker.thread.decide import Impossible, NotYet
from worker.thread.files import choose
from worker.thread.slack import SlackRefuses, SlackWaits
from worker.thread.sources import Sources, waits_for

MOST_FILES_NOTED: Final = 200
"""Most files that are not copied whose reasons are noted; of later ones none is copied either."""

NO_SLACK: Final = "no_slack"


@dataclass(frozen=True, slots=True)
class Planned:
    """The steps that follow, by the setting that was read."""

    include: Include
    steps: tuple[NewStep, ...]


def plan(sources: Sources, include: Include) -> Planned | NotYet | Impossible:
    """Return the steps; for files the thread is read."""
    if include == "link":
        return Planned(include, ())
    if sources.slack is None:
        return Impossible(NO_SLACK)
    if include == "text":
        return Planned(include, (NewStep("thread"),))
    try:
        choice = choose(sources.read_transcript().files())
    except (SlackWaits, SlackRefuses) as exc:
        return waits_for(exc)
    copied = [NewStep("file", file.id) for file in choice.copied]
    others = [*choice.not_copied.items()][:MOST_FILES_NOTED]
    not_copied = [NewStep("file", file_id, reason) for file_id, reason in others]
    return Planned(include, (*copied, *not_copied, NewStep("thread")))

"""Sentences about a channel's settings, for Slack, the console and the command line alike.

They may quote Jira's names and people's words: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from threadsync.channel_settings.directory import Checked
from threadsync.channel_settings.values import NAMES, ChannelSettings, SettingName, Value
from threadsync.types import Outcome

FORGOTTEN: Final = "Nothing changed: the channel was forgotten within the last day."


def shown(value: Value) -> str:
    """Write a value as it can be typed again."""
    return value if isinstance(value, str) else ", ".join(value)


def lines(settings: ChannelSettings) -> list[tuple[SettingName, str, str]]:
    """Return each setting that the channel has: name, value, and a remark, or empty."""
    remark = "not confirmed by Jira yet"
    return [
        (name, shown(value), remark if name in settings.unverified else "")
        for name, value in settings.values().items()
    ]


def saved(
    checked: Checked,
    outcome: Outcome,
    show: Callable[[SettingName, Value], str] = lambda _, value: shown(value),
) -> str:
    """Say what was set, and what Jira has not confirmed. ``show`` writes the value of a setting."""
    if outcome == "stale":
        return FORGOTTEN
    values = checked.change.values
    said = [f"Set: {'; '.join(f'{name} = {show(name, values[name])}' for name in NAMES if name in values)}."]
    if doubtful := [name for name in NAMES if name in checked.unverified]:
        said.append(
            f"Jira could not be asked about {_listed(doubtful)}: saved without being verified, "
            "until a ticket is made with it."
        )
    return " ".join((*said, checked.note)).strip()


def removed(name: SettingName | None, outcome: Outcome) -> str:
    """Say what was reset."""
    if outcome == "stale":
        return FORGOTTEN
    return f"Reset: {name}." if name else "Reset: all settings of this channel."


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)

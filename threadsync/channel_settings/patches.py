"""Merge patches (RFC 7396) of a channel's settings, for ``channels.merge_context``.

A patch writes the members that it is about and their entries in ``unverified``, and nothing else: patches
about different members commute, and no other program's member is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from threadsync.channel_settings.values import MEMBER, UNVERIFIED, VERIFIABLE, SettingName, Value


def setting(values: Mapping[SettingName, Value], unverified: Collection[SettingName] = ()) -> dict[str, Any]:
    """Return the patch that sets each of the values, given by the setting's name.

    Args:
        unverified: those of them that Jira has not confirmed; only a project and a type can be.
    """
    members: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
    marks = {name: True if name in unverified and name in VERIFIABLE else None for name in values}
    return {MEMBER: {**members, UNVERIFIED: marks}}


def resetting(name: SettingName | None = None) -> dict[str, Any]:
    """Return the patch that removes one setting; all of them, and whatever else the member holds, if None."""
    return {MEMBER: None if name is None else {name: None, UNVERIFIED: {name: None}}}


def confirming(names: Collection[SettingName]) -> dict[str, Any]:
    """Return the patch that removes the entries of settings that Jira has confirmed since."""
    return {MEMBER: {UNVERIFIED: dict.fromkeys(names)}}

"""A channel's settings: reading them from any context, and the patches that change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.channel_settings import CONTEXTS, JSON, NAMED, PAIRS, VALUES, merged
from threadsync.channel_settings.patches import confirming, resetting, setting
from threadsync.channel_settings.values import (
    MEMBER,
    NO_SETTINGS,
    UNVERIFIED,
    VERIFIABLE,
    ChannelSettings,
    SettingName,
    Value,
    read_member,
    read_settings,
    valid,
)
from threadsync.patch import storable


@given(
    st.dictionaries(NAMED, st.none(), max_size=6).flatmap(
        lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
    )
)
def test_what_is_set_is_read(values: dict[SettingName, Value]) -> None:
    """Every valid value that is set in an empty context is read as it was given, without a fault."""
    reading = read_settings(merged({}, setting(values)))
    assert reading.settings.values() == values
    assert reading.faults == ()


@given(CONTEXTS, PAIRS, st.booleans())
def test_a_patch_touches_one_member(
    context: dict[str, Any], pair: tuple[SettingName, Value], doubt: bool
) -> None:
    """Setting or removing one member leaves all others as they are: other programs', and ours."""
    name, value = pair
    for patch in (setting({name: value}, {name} if doubt else ()), resetting(name)):
        storable(patch)
        after = merged(context, patch)
        assert {key: item for key, item in after.items() if key != MEMBER} == {
            key: item for key, item in context.items() if key != MEMBER
        }
        before, now = _ours(context), _ours(after)
        assert {key: item for key, item in now.items() if key not in (name, UNVERIFIED)} == {
            key: item for key, item in before.items() if key not in (name, UNVERIFIED)
        }
        assert _marks(now, name) == _marks(before, name)
    assert read_settings(merged(context, setting({name: value}))).settings.values()[name] == value
    assert name not in read_settings(merged(context, resetting(name))).settings.values()


@given(CONTEXTS, PAIRS, PAIRS, st.booleans(), st.booleans())
def test_patches_of_different_members_commute(
    context: dict[str, Any],
    one: tuple[SettingName, Value],
    other: tuple[SettingName, Value],
    is_one_reset: bool,
    is_other_in_doubt: bool,
) -> None:
    """Patches about different members give the same context in either order."""
    if one[0] == other[0]:
        return
    first = resetting(one[0]) if is_one_reset else setting(dict([one]), {one[0]})
    second = setting(dict([other]), {other[0]} if is_other_in_doubt else ())
    assert merged(merged(context, first), second) == merged(merged(context, second), first)


@given(CONTEXTS)
def test_junk_fails_nothing(context: dict[str, Any]) -> None:
    """Any context is read; each value is either valid or a fault that quotes nothing of it."""
    reading = read_settings(context)
    for name, value in reading.settings.values().items():
        assert valid(name, value) == value
    assert reading.settings.unverified <= set(VERIFIABLE) & reading.settings.values().keys()
    ours = context[MEMBER]
    if ours is not None and not isinstance(ours, dict):
        assert [str(fault) for fault in reading.faults] == ["threadsync is not an object"]
    assert all(str(fault).isprintable() for fault in reading.faults)


@given(st.one_of(JSON, st.binary(), st.floats()))
def test_what_is_no_context_has_no_settings(thing: Any) -> None:
    """What is not an object has no settings, and no fault is ours to report."""
    if not isinstance(thing, dict):
        assert read_settings(thing).settings == NO_SETTINGS


def test_a_junk_value_counts_as_absent_and_the_others_stand() -> None:
    """One wrong value is left out and named; the valid ones beside it stand."""
    reading = read_settings(
        {
            "threadsync": {
                "project_key": "ops",
                "issue_type": "Bug",
                "labels": ["a", 7],
                "priority": " ",
                "include": "all",
                "who": ["U1", ""],
                "lables": ["a"],
                "unverified": {"issue_type": True, "project_key": True, "labels": True},
            }
        }
    )
    assert reading.settings == ChannelSettings(issue_type="Bug", unverified=frozenset({"issue_type"}))
    assert [fault.where for fault in reading.faults] == [
        *(f"threadsync.{name}" for name in ("project_key", "labels", "priority", "include", "who", "lables")),
        "threadsync.unverified.labels",
    ]
    assert str(reading.faults[0]) == "threadsync.project_key is not the key of a project, such as PROJ"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", []),
        ("labels", [str(number) for number in range(11)]),
        ("labels", ["x" * 256]),
        ("labels", "a"),
        ("who", []),
        ("who", [f"U{number}" for number in range(101)]),
        ("who", "nobody"),
        ("who", ["U 1"]),
        ("issue_type", "x" * 256),
        ("priority", "\x00"),
        ("priority", "\ud800"),
        ("project_key", "P" * 51),
        ("project_key", True),
    ],
)
def test_limits(name: SettingName, value: Any) -> None:
    """What passes a limit is no value, and the error says what one is."""
    with pytest.raises(ValueError, match=r"^is not "):
        valid(name, value)


def test_labels_and_people_are_without_duplicates() -> None:
    """Duplicates are taken out, in the order given; then the limit counts."""
    assert valid("labels", ["b", "a", "b"] * 5) == ("b", "a")
    assert valid("who", ["U1", "S1", "U1"]) == ("U1", "S1")


def test_the_mark_of_what_jira_has_not_confirmed_follows_its_member() -> None:
    """A patch sets or removes the mark of the member that it writes; a confirmation removes it alone."""
    context = merged({}, setting({"project_key": "OPS", "issue_type": "Bug"}, ["project_key", "issue_type"]))
    assert read_settings(context).settings.unverified == {"project_key", "issue_type"}
    once = merged(context, setting({"project_key": "DEV"}))
    assert read_settings(once).settings == ChannelSettings("DEV", "Bug", unverified=frozenset({"issue_type"}))
    confirmed = merged(context, confirming(["issue_type"]))
    assert read_settings(confirmed).settings == ChannelSettings(
        "OPS", "Bug", unverified=frozenset({"project_key"})
    )
    assert read_settings(merged(once, resetting("issue_type"))).settings == ChannelSettings("DEV")


@given(CONTEXTS)
def test_resetting_all_removes_what_is_ours(context: dict[str, Any]) -> None:
    """Resetting without a name removes the whole member, junk too, and nothing else."""
    after = merged(context, resetting())
    assert after == {key: value for key, value in context.items() if key != MEMBER}
    assert read_member(after.get(MEMBER)).faults == ()


def _ours(context: Mapping[str, Any]) -> dict[str, Any]:
    ours = context.get(MEMBER)
    return dict(ours) if isinstance(ours, Mapping) else {}


def _marks(ours: Mapping[str, Any], name: str) -> dict[str, Any]:
    marks = ours.get(UNVERIFIED)
    return {key: mark for key, mark in marks.items() if key != name} if isinstance(marks, Mapping) else {}

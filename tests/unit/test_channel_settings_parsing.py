"""Parsing of ``/ticket config …``."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.channel_settings import NAMED, PAIRS, VALUES
from threadsync.channel_settings.parsing import (
    Change,
    Reset,
    Show,
    parse_config,
    parse_words,
)
from threadsync.channel_settings.values import SettingName, Value
from threadsync.errors import InvalidCommand

_QUOTES: Final = [("", ""), ('"', '"'), ("“", "”"), ("'", "'"), ("\u2018", "\u2019"), ("”", '"'), ("„", "“")]
_MARKS: Final = "\"“”„‟'\u2018\u2019\u201a\u201b"


def _written(name: SettingName, value: Value, label: str = "") -> str:
    """Write a value as Slack sends it: escaped, people as tokens."""
    if name == "who" and isinstance(value, tuple):
        return ", ".join(
            f"<!subteam^{each}{label}>" if each.startswith("S") else f"<@{each}{label}>" for each in value
        )
    text = ", ".join(value) if isinstance(value, tuple) else value
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _is_writable(name: SettingName, value: Value) -> bool:
    """Return True if the value can be written: no comma in a label, no mark or name at a place of its own."""
    items = value if isinstance(value, tuple) else (value,)
    text = " ".join(items)
    return not any(mark in text for mark in (*_MARKS, "=")) and (
        name != "labels" or not any("," in item for item in items)
    )


def _read(text: str) -> Show | Change | Reset | None:
    try:
        return parse_config(text)
    except InvalidCommand as exc:
        if not str(exc).isprintable():
            raise
        return None


_CHANGES = st.lists(NAMED, min_size=1, max_size=6, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)


@given(_CHANGES, st.data())
def test_what_is_written_is_read(values: dict[SettingName, Value], data: st.DataObject) -> None:
    """Values go round in any order, in any quotation marks or none, with any white space between them."""
    values = {name: value for name, value in values.items() if _is_writable(name, value)}
    if not values:
        return
    parts = []
    for name, value in values.items():
        opening, closing = data.draw(st.sampled_from(_QUOTES))
        label = data.draw(st.sampled_from(["", "|ann", "|@on call, all", "|labels=a priority=b"]))
        parts.append(f"{name}={opening}{_written(name, value, label)}{closing}")
    between = data.draw(st.sampled_from([" ", "  ", "\n", "\t "]))
    assert parse_config(between.join(parts)) == Change(values)


@given(PAIRS)
def test_a_shells_words_are_read(pair: tuple[SettingName, Value]) -> None:
    """In a shell a word is a setting, and nothing in it is a quotation mark or an escape of Slack's."""
    name, value = pair
    text = ",".join(value) if isinstance(value, tuple) else value
    if name == "labels" and isinstance(value, tuple) and any("," in item for item in value):
        return
    assert parse_words([f"{name}={text}"]) == Change({name: value})


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["who=", "labels", "=", '"', "<@U1", ">", "reset", "“", ",", "x"])).map(
        " ".join
    )
)
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    """Whatever is typed, it is read or refused in one printable line, and never fails otherwise."""
    assert isinstance(_read(text), Show | Change | Reset | None)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("project_key=ops", {"project_key": "OPS"}),
        ("Project=OPS Type=Bug", {"project_key": "OPS", "issue_type": "Bug"}),
        (
            "issue_type = Service Request priority = High",
            {"issue_type": "Service Request", "priority": "High"},
        ),
        ("labels=a, b c ,d include=TEXT", {"labels": ("a", "b c", "d"), "include": "text"}),
        ("labels=“on call, all” priority='High'", {"labels": ("on call", "all"), "priority": "High"}),
        ("issue_type='Bob's type' include=link", {"issue_type": "Bob's type", "include": "link"}),
        ('issue_type="a priority=b"', {"issue_type": "a priority=b"}),
        ("labels=a=b", {"labels": ("a=b",)}),
        ("issue_type=R&amp;D &lt;x&gt;", {"issue_type": "R&D <x>"}),
        ("who=Everyone", {"who": "everyone"}),
        ("who=<@U1|ann>, <!subteam^S1|@on call, all> <@W2>", {"who": ("U1", "S1", "W2")}),
        ("who=U1,S1", {"who": ("U1", "S1")}),
    ],
)
def test_examples(text: str, values: dict[SettingName, Value]) -> None:
    """What people write is read as they mean it."""
    assert parse_config(text) == Change(values)


def test_showing_and_resetting() -> None:
    """Nothing shows the settings; ``reset`` removes one or all."""
    assert parse_config("  ") == Show()
    assert parse_config("reset") == Reset()
    assert parse_config("Reset  Labels") == Reset("labels")
    assert parse_config("reset project") == Reset("project_key")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour=red", "there is no setting 'colour'; settings: project_key, issue_type, labels"),
        ("reset colour", "there is no setting 'colour'"),
        ("reset labels priority", "there is no setting 'labels priority'"),
        ("OPS", "before 'OPS' there is no name="),
        ("labels=a labels=b", "labels is there twice"),
        ("labels=", "labels has no value; to remove the setting: reset labels"),
        ("labels=, include=text", "labels is not 1 to 10 labels"),
        ('priority="High', "the quotation mark of priority is not closed"),
        ('priority="High" Low', "before 'Low' there is no name="),
        ("include=all", "include is not link, text or files"),
        ("project_key=O-1", "project_key is not the key of a project"),
        ("who=@ann", "who: '@ann' is neither a user nor a user group"),
        ("who=workspace, <@U1>", "who: 'workspace' is neither"),
        ("labels=" + ",".join(map(str, range(11))), "labels is not 1 to 10 labels"),
    ],
)
def test_faults_are_said(text: str, sentence: str) -> None:
    """An error says what is wrong and what there is."""
    with pytest.raises(InvalidCommand) as refused:
        parse_config(text)
    assert sentence in str(refused.value)


def test_a_word_of_a_shell_has_a_name() -> None:
    """A word without ``=`` is refused, and so is no word."""
    with pytest.raises(InvalidCommand, match="'Bug' is not name=value"):
        parse_words(["Bug"])
    with pytest.raises(InvalidCommand, match="nothing to set"):
        parse_words([])
    assert parse_words(["issue_type=R&amp;D 'x'"]) == Change({"issue_type": "R&amp;D 'x'"})

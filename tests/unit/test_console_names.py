"""Names of Slack's as the console shows them."""

from __future__ import annotations

import pytest

from console.names import LONGEST_SHOWN, SlackNames, readable
from threadsync.config import Settings
from threadsync.errors import InvalidCommand


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \t\n Lovelace ", "Ada Lovelace"),
        ("nonsi\u202etxt.exe\u2066", "nonsitxt.exe"),
        ("a\x00b\x1b[31m", "ab[31m"),
        ("\u200b\u200f\ufeff", ""),
        ("\ud800x", "x"),
        ("<script>", "<script>"),
        ("שלום", "שלום"),
    ],
)
def test_a_name_loses_what_cannot_be_seen(name: str, shown: str) -> None:
    """A name is shown without control characters, marks of direction and lone surrogates."""
    assert readable(name) == shown


def test_a_long_name_is_cut() -> None:
    """A long name is cut, and says so."""
    assert readable("x" * 200) == "x" * (LONGEST_SHOWN - 1) + "…"


@pytest.mark.parametrize("token", [None, "", "xoxb-local"])
def test_without_a_token_ids_stay_ids(token: str | None) -> None:
    """Without a token, or with the local one, nothing is asked and no page waits."""
    names = SlackNames.of_settings(Settings(slack_bot_token=token))
    assert names.look_up(["U1", "C1"]) is False
    assert (names.shown("U1"), names.shown("C1")) == (None, None)


def test_a_channels_name_must_be_known() -> None:
    """Text without a hash stays as it is; a name that nothing is known of is refused."""
    assert SlackNames().channel_of("C1") == "C1"
    with pytest.raises(InvalidCommand, match=r"no channel .* is named #ops: give the channel's ID"):
        SlackNames().channel_of("#ops")

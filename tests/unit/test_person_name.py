"""People's names in tickets: one line of bounded length that cannot change the text around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.person_name import LONGEST_NAME, person_name

_JOINED = "\u05d0\u05d3\u05d4 \U0001f469\u200d\U0001f680"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada Example", "Ada Example"),
        (" Ada\n\tExample\u2028 ", "Ada Example"),
        ("A\x00d\x1b\x85a", "Ad a"),
        ("\u202eada\u202c \u2067x\u2069 \u200f", "ada x"),
        ("\ud800", "U1"),
        ("\u200e \u200e", "U1"),
        ("", "U1"),
        (None, "U1"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        (
            "\u05d0\u05d3\u05d4 \u200d\U0001f469\u200d\U0001f680",
            "\u05d0\u05d3\u05d4 \u200d\U0001f469\u200d\U0001f680",
        ),
    ],
)
def test_a_name_is_one_line(name: str | None, expected: str) -> None:
    """White space is one space, and what controls or turns text goes; the id stands for nothing at all."""
    assert person_name(name, "U1") == expected


@given(st.text(max_size=300))
def test_whatever_people_call_themselves(name: str) -> None:
    """Any name is one line that is short, and not empty."""
    shown = person_name(name, "U1")
    assert 0 < len(shown) <= LONGEST_NAME
    assert shown.splitlines() == [shown]
    assert person_name(shown, "U1") == shown

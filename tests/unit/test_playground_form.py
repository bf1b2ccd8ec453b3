"""The state of a form: as Slack sends it, after the checks of Slack's client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.playground.form_state import INTERACTIVE, REQUIRED, WrongInput, element_state, is_empty, state_of
from sandbox.playground.typed import as_slack_sends

BUG = {"text": {"type": "plain_text", "text": "Bug"}, "value": "1"}
TASK = {"text": {"type": "plain_text", "text": "Task"}, "value": "2"}
CHOICE = {"options": [BUG, TASK]}

STATES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"type": "plain_text_input"}, "x", {"value": "x"}),
    ({"type": "plain_text_input"}, "", {"value": None}),
    ({"type": "number_input", "is_decimal_allowed": True}, "1.5", {"value": "1.5"}),
    ({"type": "number_input", "is_decimal_allowed": False}, "12", {"value": "12"}),
    ({"type": "url_text_input"}, "https://example.com/", {"value": "https://example.com/"}),
    ({"type": "email_text_input"}, "ada@example.com", {"value": "ada@example.com"}),
    ({"type": "static_select", **CHOICE}, "1", {"selected_option": BUG}),
    ({"type": "static_select", "option_groups": [CHOICE]}, "2", {"selected_option": TASK}),
    ({"type": "static_select", **CHOICE}, None, {"selected_option": None}),
    ({"type": "radio_buttons", **CHOICE}, "2", {"selected_option": TASK}),
    ({"type": "multi_static_select", **CHOICE}, ["1", "2"], {"selected_options": [BUG, TASK]}),
    ({"type": "checkboxes", **CHOICE}, None, {"selected_options": []}),
    ({"type": "external_select"}, BUG, {"selected_option": BUG}),
    ({"type": "multi_external_select"}, [BUG], {"selected_options": [BUG]}),
    ({"type": "users_select"}, "U0ADA", {"selected_user": "U0ADA"}),
    ({"type": "multi_users_select"}, ["U0ADA"], {"selected_users": ["U0ADA"]}),
    ({"type": "conversations_select"}, "", {"selected_conversation": None}),
    ({"type": "datepicker"}, "2026-02-28", {"selected_date": "2026-02-28"}),
    ({"type": "timepicker"}, "23:59", {"selected_time": "23:59"}),
    ({"type": "datetimepicker"}, 1_772_236_800, {"selected_date_time": 1_772_236_800}),
]


@pytest.mark.parametrize(("element", "raw", "expected"), STATES)
def test_each_kind_of_element(element: dict[str, Any], raw: Any, expected: dict[str, Any]) -> None:
    """The state of an element has the member that Slack's payload has."""
    assert element_state(element, raw) == {"type": element["type"], **expected}


@pytest.mark.parametrize(
    ("element", "raw"),
    [
        ({"type": "plain_text_input", "max_length": 3}, "four"),
        ({"type": "plain_text_input", "min_length": 3}, "ab"),
        ({"type": "plain_text_input"}, "x" * 3_001),
        ({"type": "number_input"}, "twelve"),
        ({"type": "number_input"}, "1.5"),
        ({"type": "number_input"}, "NaN"),
        ({"type": "number_input", "min_value": "3"}, "2"),
        ({"type": "number_input", "max_value": "3"}, "4"),
        ({"type": "url_text_input"}, "javascript:alert(1)"),
        ({"type": "email_text_input"}, "ada"),
        ({"type": "static_select", **CHOICE}, "3"),
        ({"type": "multi_static_select", **CHOICE}, ["1", "3"]),
        ({"type": "external_select"}, "1"),
        ({"type": "datepicker"}, "2026-02-30"),
        ({"type": "datepicker"}, "20260228"),
        ({"type": "timepicker"}, "25:00"),
        ({"type": "datetimepicker"}, "soon"),
        ({"type": "datetimepicker"}, True),
    ],
)
def test_what_slacks_client_does_not_send(element: dict[str, Any], raw: Any) -> None:
    """An input that Slack's client refuses is refused with a sentence."""
    with pytest.raises(WrongInput, match=r"\.$"):
        element_state(element, raw)


def view(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "modal", "blocks": [{"type": "divider"}, *blocks]}


def test_a_required_input_must_be_there() -> None:
    """An empty input is an error of its block unless it is optional; sections have a state too."""
    text = {"type": "plain_text_input", "action_id": "t"}
    form = view(
        {"type": "input", "block_id": "a", "element": text},
        {"type": "input", "block_id": "b", "element": text, "optional": True},
        {"type": "section", "block_id": "c", "accessory": {"type": "datepicker", "action_id": "d"}},
        {"type": "actions", "block_id": "e", "elements": [{"type": "button", "action_id": "no"}]},
    )
    state = state_of(form, {"a": {"t": "x" * 4_000}})
    assert list(state.errors) == ["a"]
    state = state_of(form, {})
    assert state.errors == {"a": REQUIRED}
    state = state_of(form, {"a": {"t": "x"}, "c": {"d": "2026-01-01"}})
    assert state.errors == {}
    assert state.values == {
        "a": {"t": {"type": "plain_text_input", "value": "x"}},
        "b": {"t": {"type": "plain_text_input", "value": None}},
        "c": {"d": {"type": "datepicker", "selected_date": "2026-01-01"}},
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(kind=st.sampled_from(sorted(INTERACTIVE)), raw=JSON)
def test_no_input_is_too_odd(kind: str, raw: Any) -> None:
    """Whatever a page sends for an element, there is a state or a sentence."""
    try:
        state = element_state({"type": kind, **CHOICE}, raw)
    except WrongInput:
        return
    assert state["type"] == kind
    assert isinstance(is_empty(state), bool)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("plain", "plain"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("@ada and @Ada, @nobody", "<@U0ADA> and <@U0ADA>, @nobody"),
        ("see #billing and #nothing", "see <#C0BILLING> and #nothing"),
        ("mail ada@ada.example", "mail ada@ada.example"),
        ("ask @Helpdesk", "ask <!subteam^S0HELP>"),
        ("see https://a.example/b?c=1&d=@ada#billing.", "see <https://a.example/b?c=1&amp;d=@ada#billing>."),
        ("(http://a.example)<b>", "(<http://a.example>)&lt;b&gt;"),
        ("https:// alone", "https:// alone"),
        ("<@U0ADA> typed by hand", "&lt;@U0ADA&gt; typed by hand"),
    ],
)
def test_typed_text(text: str, sent: str) -> None:
    """Names become ids, addresses links, and Slack's control characters are escaped."""
    groups = {"helpdesk": "S0HELP"}
    assert as_slack_sends(text, {"ada": "U0ADA"}, {"billing": "C0BILLING"}, groups) == sent

"""The form: every kind of field goes round, and no view passes Slack's limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.form.about import About, about_of
from handlers.form.draft import NOTHING, Known, values_in
from handlers.form.submission import submission_in
from handlers.form.view import BARE_FIELDS, Screen, form_view
from tests.support.block_kit import check_view, submitted
from tests.support.form_fields import FIELDS, fields_with_values, screens
from tests.support.scale import bounded
from threadsync.forms import FormField

ABOUT = About("C0123", "1700000000.000100", "https://hooks.slack.example/1", "PROJ", "10001")
NAMELESS = {"summary": "s"}


def sent(view: dict[str, Any], fields: tuple[FormField, ...], changes: Any = None, kept: Any = None) -> Any:
    submission = submission_in(submitted(view, changes))
    known = Known(choices={item.id: item.choices for item in fields}, kept=kept)
    return submission, submission.written(known)


@pytest.mark.bounded
@given(fields_with_values())
@settings(max_examples=bounded(300, 80), deadline=None)
def test_every_kind_goes_round(given_: tuple[tuple[FormField, ...], dict[str, Any]]) -> None:
    """A value that a draft holds comes back from the form that shows it, whatever its kind and length."""
    fields, values = given_
    view = form_view(Screen(fields), ABOUT, values)
    check_view(view)
    submission, found = sent(view, fields, kept=values)
    assert found.faults == {}
    assert found.values == values
    drafted = values_in(submission.command(found.values, "1700000002.000000").arguments()["draft"])
    assert {name: values[name] for name in drafted} == drafted
    assert "summary" in drafted


@pytest.mark.bounded
@given(screens())
@settings(max_examples=bounded(150, 20), deadline=None)
def test_no_view_passes_slacks_limits(drawn: tuple[Screen, dict[str, Any], dict[str, str]]) -> None:
    """Whatever fields, values and refusals there are, Slack takes the view, and it is read again."""
    screen, values, said = drawn
    view = form_view(screen, ABOUT, values, said=said)
    check_view(view)
    _, found = sent(view, screen.fields, kept=values)
    assert not found.faults or set(found.faults) <= {block.get("block_id") for block in view["blocks"]}
    if not set(said) & set(values):
        assert found.faults or found.values == values
    about = about_of(view)
    assert about is not None
    assert (about.channel_id, about.thread_ts) == (ABOUT.channel_id, ABOUT.thread_ts)


@given(st.sampled_from(FIELDS), st.data())
def test_a_field_is_created_or_refused_at_its_input(field: FormField, data: st.DataObject) -> None:
    """Whatever a person enters becomes a value or a sentence at this very input."""
    view = form_view(Screen((*BARE_FIELDS, field)), ABOUT, NAMELESS)
    block = next(block for block in view["blocks"] if block["block_id"].partition("#")[0] == field.id)
    change = data.draw(entered(block["element"]))
    submission, found = sent(view, (field,), {field.id: change})
    assert set(found.faults) <= {block["block_id"]}
    if not found.faults:
        submission.command(found.values, "1700000002.000000")


def entered(element: dict[str, Any]) -> st.SearchStrategy[Any]:
    match element["type"]:
        case "datepicker":
            return st.none() | st.dates().map(str) | st.text(max_size=5)
        case "datetimepicker":
            return st.none() | st.integers(0, 10**12) | st.sampled_from(["9" * 5_000, "soon"])
        case "static_select":
            return st.none() | st.sampled_from([option["value"] for option in element["options"]])
        case "multi_static_select":
            return st.lists(st.sampled_from([option["value"] for option in element["options"]]), unique=True)
        case "users_select":
            return st.sampled_from([None, "U1"])
        case "multi_users_select":
            return st.lists(st.sampled_from(["U1", "U2"]), unique=True)
        case "number_input":
            return st.none() | st.floats(allow_nan=True).map(str) | st.text(max_size=8)
    return st.none() | st.text() | st.text(alphabet=st.characters(codec=None), max_size=20)


DEMANDED = (
    FormField(id="summary", label="Summary", kind="string", required=True),
    FormField(id="description", label="Description", kind="text_area", required=True),
    FormField(id="labels", label="Labels", kind="labels", multiple=True, required=True),
    FormField(id="customfield_1", label="Owners", kind="group", shape="name", multiple=True, required=True),
    FormField(id="customfield_2", label="Steps", kind="text_area", shape="adf", required=True),
)
FILLED = {
    "summary": "x",
    "description": "x",
    "labels": "a",
    "customfield_1": "devs",
    "customfield_2": "x",
}


@pytest.mark.parametrize(
    ("name", "entered"),
    [
        *(("description", text) for text in (">", ">\n>", ">\n\n> ", " \n ")),
        *(("labels", text) for text in (" ", ", ,")),
        *(("customfield_1", text) for text in (" ", "\n \n")),
        ("customfield_2", " \n "),
    ],
)
def test_a_demanded_value_that_is_none_is_refused_at_its_input(name: str, entered: str) -> None:
    """Blanks, separators and the signs of a quotation are no value where Jira demands one."""
    view = form_view(Screen(DEMANDED), ABOUT, {})
    assert sent(view, DEMANDED, changes=FILLED)[1].faults == {}
    assert sent(view, DEMANDED, changes={**FILLED, name: entered})[1].faults == {name: NOTHING}
    free = tuple(item.model_copy(update={"required": item.id == "summary"}) for item in DEMANDED)
    view = form_view(Screen(free), ABOUT, {})
    assert sent(view, free, changes={**FILLED, name: entered})[1].faults == {}

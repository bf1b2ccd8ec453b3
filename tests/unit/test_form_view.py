"""The views of the form: at once without inputs, with fields, and after a change of project or type."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.form import texts
from handlers.form.about import About, about_of
from handlers.form.draft import NO_SUMMARY, NOT_CHECKED, NOT_READ, TOO_LARGE, Known
from handlers.form.inputs import IS_CUT, IS_HIDDEN
from handlers.form.submission import NOT_ENTERED, NOT_LOADED, change_in, submission_in
from handlers.form.view import BARE_FIELDS, Screen, form_view, loading_view
from tests.support.block_kit import changed_in, check_view, submitted
from tests.support.form_fields import choices
from threadsync.forms import Choice, FormField, LookupOutcome

ABOUT = About("C0123", "1700000000.000100", "https://hooks.slack.example/1", "PROJ", "1")
PROJECTS = (Choice(id="OTHER", label="Other (OTHER)"), Choice(id="PROJ", label="Project (PROJ)"))
TYPES = (Choice(id="1", label="Task"), Choice(id="2", label="Bug"))
SEVERITY = FormField(
    id="customfield_1",
    label="Severity",
    kind="option",
    shape="id",
    required=True,
    choices=(Choice(id="10", label="S1"), Choice(id="11", label="S2")),
)
CUSTOMER = FormField(id="customfield_2", label="Customer", kind="string", required=True)
OWNER = FormField(id="assignee", label="Assignee", kind="user")
MANY = FormField(id="components", label="Components", kind="component", shape="id", multiple=True)


def blocks_of(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the inputs by the field's id."""
    return {
        block["block_id"].partition("#")[0]: block for block in view["blocks"] if block["type"] == "input"
    }


def notes_of(view: dict[str, Any]) -> list[str]:
    return [block["text"]["text"] for block in view["blocks"] if block["type"] == "section"]


def test_the_first_view_has_no_input() -> None:
    """The view that opens at once has no input, so that nothing typed is lost, and carries its thread."""
    view = loading_view(ABOUT)
    check_view(view)
    assert blocks_of(view) == {}
    assert "submit" not in view
    assert about_of(view) == ABOUT


def test_project_and_type_stand_above_what_follows_from_them() -> None:
    """Project and type come first, and dispatch; then come the fields, in their order."""
    view = form_view(Screen((*BARE_FIELDS, OWNER, SEVERITY), PROJECTS, TYPES), ABOUT)
    check_view(view)
    blocks = blocks_of(view)
    assert list(blocks) == ["project", "issuetype", "summary", "description", "assignee", "customfield_1"]
    assert [bool(block.get("dispatch_action")) for block in blocks.values()] == [True, True, *[False] * 4]
    assert [block["optional"] for block in blocks.values()] == [False, False, False, True, True, False]
    assert blocks["project"]["element"]["initial_option"]["value"] == "PROJ"
    assert blocks["issuetype"]["element"]["initial_option"]["value"] == "1"


def test_fields_that_are_not_known_have_a_sentence_each() -> None:
    """Each reason for which fields are not known has a sentence of its own."""
    outcomes: tuple[LookupOutcome | None, ...] = (None, "refused", "not_configured", "no_such_project")
    sentences = [texts.on_fields(outcome, "PROJ") for outcome in outcomes]
    assert len(set(sentences)) == len(outcomes)
    assert texts.on_fields("no_answer", None) == texts.on_fields(None, None) == texts.NO_FIELDS
    assert texts.on_fields("no_such_project", None) == texts.NO_PROJECT


def test_what_cannot_be_asked_for_is_said_above() -> None:
    """Required fields that a form cannot ask for are named above the inputs."""
    view = form_view(Screen(unaskable=("Sprint", "Parent")), ABOUT, notes=("First.",))
    check_view(view)
    assert view["blocks"][0]["text"]["text"] == "First."
    assert "Sprint, Parent" in notes_of(view)[1]


def test_more_fields_than_slack_shows_are_named() -> None:
    """Required fields beyond a hundred blocks are named like those that cannot be asked for."""
    fields = tuple(CUSTOMER.model_copy(update={"id": f"f{n}", "label": f"Field {n}"}) for n in range(120))
    view = form_view(Screen((*BARE_FIELDS, *fields)), ABOUT)
    check_view(view)
    shown = len(blocks_of(view)) - len(BARE_FIELDS)
    assert 90 < shown < 100
    assert f"Field {shown}, Field {shown + 1}" in notes_of(view)[0]
    assert f"Field {shown - 1}," not in notes_of(view)[0]


def test_a_long_text_is_shown_cut_and_kept_whole() -> None:
    """A text beyond Slack's limit is shown cut; unchanged the whole is sent, else what the person wrote."""
    whole = "x" * 5_000
    view = form_view(Screen(), ABOUT, {"summary": "s", "description": whole})
    check_view(view)
    block = blocks_of(view)["description"]
    assert len(block["element"]["initial_value"]) == 3_000
    assert IS_CUT in block["hint"]["text"]

    def sent(changes: dict[str, Any], kept: dict[str, Any] | None) -> Any:
        return submission_in(submitted(view, changes)).written(Known(kept=kept))

    assert submission_in(submitted(view)).needs_draft
    assert sent({}, {"description": whole}).values["description"] == whole
    assert sent({}, None).faults == {"description": NOT_READ}
    changed = sent({"description": "shorter"}, None)
    assert (changed.values["description"], changed.faults) == ("shorter", {})
    assert not submission_in(submitted(view, {"description": "shorter"})).needs_draft


def test_an_account_is_kept_unless_another_person_is_chosen() -> None:
    """Jira's account shows no Slack user; it is kept, and replaced by a person who is chosen."""
    view = form_view(Screen((*BARE_FIELDS, OWNER)), ABOUT, {"summary": "s", "assignee": "acc-1"})
    check_view(view)
    assert IS_HIDDEN in blocks_of(view)["assignee"]["hint"]["text"]
    kept = submission_in(submitted(view)).written(Known(kept={"assignee": "acc-1"}))
    assert kept.values == {"summary": "s", "assignee": "acc-1"}
    chosen = submission_in(submitted(view, {"assignee": "U9"}))
    assert chosen.people == {"U9"}
    assert chosen.written(Known(accounts={"U9": "acc-9"})).values["assignee"] == "acc-9"
    assert chosen.written(Known(unknown={"U9": "Nobody."})).faults == {"assignee": "Nobody."}
    assert chosen.written(Known()).faults == {"assignee": NOT_CHECKED}


def test_a_value_that_jira_refused_and_no_input_shows_is_dropped() -> None:
    """What Jira refused and the form cannot show is not sent again unless somebody enters it."""
    values = {"summary": "s", "assignee": "acc-1"}
    view = form_view(Screen((*BARE_FIELDS, OWNER)), ABOUT, values, said={"assignee": "cannot be assigned"})
    check_view(view)
    assert "cannot be assigned" in blocks_of(view)["assignee"]["hint"]["text"]
    assert submission_in(submitted(view)).written(Known(kept=values)).values == {"summary": "s"}


def test_a_refusal_stands_at_its_input_or_above() -> None:
    """Jira's words stand at the input of their field, and above the form where there is none."""
    said = {"customfield_1": "Severity is required.", "parent": "No parent.", "": "Not today."}
    view = form_view(Screen((*BARE_FIELDS, SEVERITY)), ABOUT, said=said)
    check_view(view)
    assert blocks_of(view)["customfield_1"]["hint"]["text"].startswith("Severity is required.")
    assert notes_of(view) == ["parent: No parent.\nNot today."]


def test_values_without_an_input_are_kept() -> None:
    """A draft's value of a field that the form does not have is sent again, unless Jira refused it."""
    values = {"summary": "s", "customfield_9": {"id": "7"}, "customfield_8": "bad"}
    view = form_view(Screen(), ABOUT, values, said={"customfield_8": "is not on the screen"})
    submission = submission_in(submitted(view))
    assert submission.needs_draft
    assert submission.written(Known(kept=values)).values == {"summary": "s", "customfield_9": {"id": "7"}}


@pytest.mark.parametrize(
    ("count", "element"),
    [(1, "multi_static_select"), (100, "multi_static_select"), (101, "plain_text_input")],
)
def test_many_choices_are_typed(count: int, element: str) -> None:
    """Up to a hundred choices are selected; more are typed, and what is typed must match one."""
    field = MANY.model_copy(update={"choices": choices(count)})
    view = form_view(Screen((*BARE_FIELDS, field)), ABOUT, {"summary": "s"})
    check_view(view)
    assert blocks_of(view)["components"]["element"]["type"] == element
    if element != "plain_text_input":
        return
    block_id = blocks_of(view)["components"]["block_id"]

    def sent(text: str, known: Known) -> Any:
        return submission_in(submitted(view, {"components": text})).written(known)

    known = Known(choices={"components": field.choices})
    assert sent("choice 7\n10003\n\n Choice  9 ", known).values["components"] == [
        {"id": "10007"},
        {"id": "10003"},
        {"id": "10009"},
    ]
    assert list(sent("Choice 7\nChoice seven", known).faults) == [block_id]
    assert "no choice “Choice seven”" in sent("Choice seven", known).faults[block_id]
    assert "Did you mean Choice 100?" in sent("oice 100", known).faults[block_id]
    assert sent("Choice 7", Known()).faults == {block_id: NOT_CHECKED}


def test_another_type_replaces_the_blocks_below_alone() -> None:
    """After another type what is the same keeps its block as it is, and what is not is made anew."""
    values = {"summary": "s", "description": "y" * 4_000, "customfield_1": {"id": "10"}}
    before = form_view(Screen((*BARE_FIELDS, SEVERITY, CUSTOMER), PROJECTS, TYPES), ABOUT, values)
    other = SEVERITY.model_copy(update={"choices": (*SEVERITY.choices, Choice(id="12", label="S3"))})
    about = about_of(before)
    assert about is not None
    after = form_view(
        Screen((*BARE_FIELDS, other, CUSTOMER), PROJECTS, TYPES),
        About(**{**vars(about), "issue_type": "2"}),
        before=before,
    )
    check_view(after)
    old, new = blocks_of(before), blocks_of(after)
    assert list(old) == list(new)
    same = [name for name in old if old[name]["block_id"] == new[name]["block_id"]]
    assert same == ["project", "issuetype", "summary", "description", "customfield_2"]
    assert all(old[name] == new[name] for name in ("summary", "description", "customfield_2"))
    assert "initial_option" not in new["customfield_1"]["element"]
    told = about_of(after)
    assert told is not None
    assert told.issue_type == "2"
    assert told.kept == {"description"}


def test_another_type_changes_what_is_demanded() -> None:
    """An input that stays is demanded if the new type demands it, unless it keeps a value unseen."""
    account = {"accountId": "712020:ann"}
    owner = FormField(id="customfield_9", label="Owner", kind="user")
    asked = (*BARE_FIELDS, owner)
    for values, optional in (({}, False), ({"customfield_9": account}, True)):
        before = form_view(Screen(asked, PROJECTS, TYPES), ABOUT, {"summary": "s", **values})
        demanded = tuple(item.model_copy(update={"required": True}) for item in asked)
        about = about_of(before)
        assert about is not None
        after = form_view(Screen(demanded, PROJECTS, TYPES), about, before=before)
        found = {name: block["optional"] for name, block in blocks_of(after).items()}
        assert found["description"] is False
        assert found["customfield_9"] is optional
        back = form_view(Screen(asked, PROJECTS, TYPES), about, before=after)
        assert blocks_of(back) == blocks_of(before)


def test_a_choice_whose_fields_are_not_there_yet_is_not_sent() -> None:
    """A form is not sent for a project or a type whose fields it does not show yet."""
    view = form_view(Screen(BARE_FIELDS, PROJECTS, TYPES), ABOUT, {"summary": "s"})
    block_id = blocks_of(view)["project"]["block_id"]
    assert submission_in(submitted(view)).unsettled == {}
    assert submission_in(submitted(view, {"project": "OTHER"})).unsettled == {block_id: NOT_LOADED}
    typed = form_view(Screen(BARE_FIELDS, choices(101), TYPES), ABOUT, {"summary": "s"})
    check_view(typed)
    assert blocks_of(typed)["project"]["element"]["initial_value"] == "PROJ"
    found = submission_in(submitted(typed, {"project": "Choice 7"})).unsettled
    assert list(found.values()) == [NOT_ENTERED]


def test_a_change_is_read() -> None:
    """A change of project or type is read from Slack's payload; other actions are none."""
    view = {**form_view(Screen(BARE_FIELDS, PROJECTS, TYPES), ABOUT), "id": "V1", "hash": "h1"}
    change = change_in(changed_in(view, "project", "OTHER", "U1"))
    assert change is not None
    assert (change.is_project, change.chosen, change.is_typed) == (True, "OTHER", False)
    assert (change.view_id, change.view_hash, change.about) == ("V1", "h1", ABOUT)
    typed = {**form_view(Screen(BARE_FIELDS, choices(101), TYPES), ABOUT), "id": "V1", "hash": "h1"}
    entered = change_in(changed_in(typed, "project", " choice 7 ", "U1"))
    assert entered is not None
    assert (entered.chosen, entered.is_typed) == ("choice 7", True)
    assert change_in({"view": view, "actions": [{"action_id": "string:bare:one", "value": "x"}]}) is None
    assert change_in({"view": view, "actions": [{"action_id": "project", "selected_option": None}]}) is None
    assert change_in({}) is None


def test_fields_that_are_too_large_together_are_refused_at_the_largest() -> None:
    """Values beyond what a draft takes are refused at the largest input."""
    fields = [CUSTOMER.model_copy(update={"id": f"f{n}"}) for n in range(30)]
    view = form_view(Screen((*BARE_FIELDS, *fields)), ABOUT, {"summary": "s"})
    texts = {item.id: "x" * 2_900 for item in fields} | {"f7": "x" * 3_000}
    assert submission_in(submitted(view, texts)).written(Known()).faults == {"f7": TOO_LARGE}


def test_a_form_without_a_summary_is_refused_there() -> None:
    """A blank summary is refused at its input."""
    view = form_view(Screen(), ABOUT)
    for summary in (None, "", " \n"):
        found = submission_in(submitted(view, {"summary": summary})).written(Known())
        assert found.faults == {"summary": NO_SUMMARY}


def test_the_command_has_project_type_and_thread() -> None:
    """The command is about the form's thread, project and type."""
    submission = submission_in(submitted(form_view(Screen(), ABOUT, {"summary": "a &lt; b"})))
    command = submission.command(submission.written(Known()).values, "1700000002.000000")
    assert (command.channel_id, command.thread_ts) == (ABOUT.channel_id, ABOUT.thread_ts)
    assert command.draft.model_dump(exclude_defaults=True) == {
        "summary": "a &lt; b",
        "project_key": "PROJ",
        "issue_type": "1",
    }

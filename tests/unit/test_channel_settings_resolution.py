"""What a ticket is made with, and the comparison of settings with what Jira has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from threadsync.channel_settings.directory import Checked, IssueType, Known, Project, Refusal, check
from threadsync.channel_settings.parsing import Change
from threadsync.channel_settings.resolution import Resolved, Sourced, defaults_of, resolve
from threadsync.channel_settings.values import ChannelSettings
from threadsync.syncs import Draft

_KEYS = st.none() | st.sampled_from(["A", "B"])
_TYPES = st.none() | st.sampled_from(["Bug", "Task"])
_LABELS = st.lists(st.sampled_from("abc"), max_size=3).map(tuple)

OPS, DEV = Project("OPS", "Operations"), Project("DEV", "Development")
TYPES = (IssueType("1", "Bug"), IssueType("2", "Service Request"), IssueType("3", "Sub-task", subtask=True))


@given(_KEYS, _KEYS, _KEYS, _TYPES, _TYPES, _TYPES, _TYPES, _LABELS, _LABELS)
def test_the_draft_then_the_channel_then_the_settings(
    drafted: str | None,
    of_channel: str | None,
    of_settings: str | None,
    drafted_type: str | None,
    channel_type: str | None,
    drafted_priority: str | None,
    channel_priority: str | None,
    drafted_labels: tuple[str, ...],
    channel_labels: tuple[str, ...],
) -> None:
    """Each value is the first there is, and says where it comes from; labels are united."""
    draft = Draft(
        summary="x",
        project_key=drafted,
        issue_type=drafted_type,
        priority=drafted_priority,
        labels=drafted_labels,
    )
    channel = ChannelSettings(of_channel, channel_type, channel_labels, channel_priority)
    resolved = resolve(draft, defaults_of(channel, of_settings, "Story"))
    project = drafted or of_channel or of_settings
    assert (resolved.project.value if resolved.project else None) == project
    if resolved.project:
        assert resolved.project.source == ("draft" if drafted else "channel" if of_channel else "settings")
    assert resolved.issue_type == (
        Sourced(drafted_type, "draft")
        if drafted_type
        else Sourced(channel_type, "channel")
        if channel_type
        else Sourced("Story", "settings")
    )
    assert (resolved.priority.value if resolved.priority else None) == (drafted_priority or channel_priority)
    assert set(resolved.labels) == {*drafted_labels, *channel_labels}
    assert len(resolved.labels) == len(set(resolved.labels))


def test_labels_are_the_drafts_first() -> None:
    """The draft's labels come first, then those of the channel that it lacks."""
    draft = Draft(summary="x", labels=("b", "a"))
    resolved = resolve(draft, defaults_of(ChannelSettings(labels=("a", "c")), None, "Task"))
    assert resolved == Resolved(None, Sourced("Task", "settings"), None, ("b", "a", "c"))


def test_what_jira_has_is_saved_as_it_spells_it() -> None:
    """A known project and type are saved, the type as Jira spells it, or by the id that was given."""
    change = Change({"project_key": "OPS", "issue_type": "service request", "labels": ("a",)})
    assert check(change, Known([OPS], TYPES)) == Checked(
        Change({"project_key": "OPS", "issue_type": "Service Request", "labels": ("a",)})
    )
    assert check(Change({"issue_type": "2"}), Known(None, TYPES), default="OPS") == Checked(
        Change({"issue_type": "2"})
    )


def test_what_jira_does_not_know_is_refused_with_what_there_is() -> None:
    """An unknown key or type is refused, and the answer lists those that exist, no sub-tasks."""
    refused = check(Change({"project_key": "OPX"}), Known([DEV, OPS], None))
    assert isinstance(refused, Refusal)
    assert str(refused) == (
        "Jira has no project 'OPX', or I may not see it. There are: DEV (Development), OPS (Operations)."
    )
    refused = check(Change({"issue_type": "Sub-task"}), Known(None, TYPES), ChannelSettings("OPS"))
    assert isinstance(refused, Refusal)
    assert str(refused) == (
        "Jira has no issue type for tickets 'Sub-task' in OPS, or I may not see it. "
        "There are: Bug, Service Request."
    )
    many = [Project(f"P{number}", "p") for number in range(25)]
    assert str(check(Change({"project_key": "OPX"}), Known(many))).endswith("P19 (p) and 5 more.")
    assert str(check(Change({"project_key": "OPX"}), Known([]))).endswith("I can see none.")


def test_what_jira_did_not_answer_is_unverified() -> None:
    """With Jira away a project and a type are saved as unverified; other settings never are."""
    change = Change({"project_key": "OPS", "issue_type": "Bug", "priority": "High"})
    assert check(change, Known()) == Checked(change, frozenset({"project_key", "issue_type"}))
    assert check(Change({"priority": "High"}), Known()) == Checked(Change({"priority": "High"}))


def test_a_type_that_does_not_fit_the_new_project_is_named() -> None:
    """A new project that lacks the channel's type is saved, with a sentence that says so."""
    checked = check(Change({"project_key": "OPS"}), Known([OPS], TYPES), ChannelSettings("DEV", "Epic"))
    assert isinstance(checked, Checked)
    assert "'Epic' is none of OPS" in checked.note
    checked = check(Change({"project_key": "OPS"}), Known([OPS], TYPES), ChannelSettings("DEV", "Bug"))
    assert checked == Checked(Change({"project_key": "OPS"}))

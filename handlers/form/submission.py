"""Read what Slack sends of a form: a changed project or type, and its submission. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handlers.form.about import About, about_of
from handlers.form.draft import Known, Written, draft_of, written
from handlers.form.inputs import Entry, blocks_in, changed, entries_in, field_of
from handlers.form.view import ISSUE_TYPE, PROJECT
from handlers.payload import object_in
from threadsync.commands import RequestSync

NOT_LOADED: Final = "The fields for this choice are not here yet. Please wait a second, or choose it again."
NOT_ENTERED: Final = "Please press Enter in this field, so that I can ask Jira for the fields of it."


@dataclass(frozen=True)
class Submission:
    """A form that was sent.

    Args:
        entries: what its inputs hold, without those of project and issue type.
        unsettled: sentences by block, on a project or type whose fields are not in the form yet.
    """

    about: About
    entries: tuple[Entry, ...]
    unsettled: Mapping[str, str]

    @property
    def people(self) -> frozenset[str]:
        """The Slack users whose accounts in Jira are needed."""
        return frozenset(user for entry in self.entries if entry.is_of_people for user in entry.texts)

    @property
    def has_typed_choices(self) -> bool:
        """True if choices are needed, to match what was typed."""
        return any(entry.is_typed and entry.texts for entry in self.entries)

    @property
    def needs_draft(self) -> bool:
        """True if values are needed that the form did not show whole, or not at all."""
        touched = {entry.spec.id for entry in self.entries if not entry.is_unchanged}
        return bool(self.about.kept - touched)

    def written(self, known: Known) -> Written:
        """Return values and faults, with what was looked up."""
        found = written(self.entries, known, self.about.keeps)
        return Written(found.values, {**found.faults, **self.unsettled})

    def command(self, values: Mapping[str, Any], drafted_at: str) -> RequestSync:
        """Make the command of the values. Raises ``InvalidCommand``."""
        arguments = {
            "channel_id": self.about.channel_id,
            "thread_ts": self.about.thread_ts,
            "draft": draft_of(values, self.about.project_key, self.about.issue_type),
            "drafted_at": drafted_at,
        }
        return RequestSync.from_message((), arguments)


@dataclass(frozen=True)
class Change:
    """A project or an issue type that a person chose in a form.

    ``project_key`` and ``issue_type`` are those that the form shows. Slack keeps the input of the type where
    the other project has the same types; and both may be changed before we have answered.
    """

    about: About
    view: Mapping[str, Any]
    view_id: str
    view_hash: str
    is_project: bool
    chosen: str
    is_typed: bool
    project_key: str | None
    issue_type: str | None


def submission_in(payload: Mapping[str, Any]) -> Submission:
    """Read a submission; junk in it counts as absent."""
    view = object_in(payload, "view")
    about = about_of(view) or About("", "")
    entries = tuple(entry for entry in entries_in(view) if entry.spec.id not in (PROJECT, ISSUE_TYPE))
    unsettled = {}
    for block in blocks_in(view):
        block_id = str(block.get("block_id") or "")
        element = object_in(block, "element")
        if field_of(block_id) in (PROJECT, ISSUE_TYPE) and changed(view, block):
            is_typed = element.get("type") == "plain_text_input"
            unsettled[block_id] = NOT_ENTERED if is_typed else NOT_LOADED
    return Submission(about, entries, unsettled)


def change_in(payload: Mapping[str, Any]) -> Change | None:
    """Read a change of project or type; None if the payload has none that counts."""
    view = object_in(payload, "view")
    about = about_of(view)
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], Mapping) else {}
    name = action.get("action_id")
    chosen = object_in(action, "selected_option").get("value") or action.get("value")
    if (
        about is None
        or name not in (PROJECT, ISSUE_TYPE)
        or not isinstance(chosen, str)
        or not chosen.strip()
    ):
        return None
    return Change(
        about=about,
        view=view,
        view_id=str(view.get("id") or ""),
        view_hash=str(view.get("hash") or ""),
        is_project=name == PROJECT,
        chosen=chosen.strip(),
        is_typed="selected_option" not in action,
        project_key=_selected(view, PROJECT) or about.project_key,
        issue_type=_selected(view, ISSUE_TYPE) or about.issue_type,
    )


def _selected(view: Mapping[str, Any], name: str) -> str | None:
    """Return the value that is chosen in a select; None for an input of another kind, or none."""
    for block_id, held in object_in(object_in(view, "state"), "values").items():
        if field_of(str(block_id)) == name and isinstance(held, Mapping):
            value = object_in(object_in(held, name), "selected_option").get("value")
            return value if isinstance(value, str) else None
    return None

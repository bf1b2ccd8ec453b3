"""Open the form, make it anew for another project or type, and check what was sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import structlog

from handlers.bot_identity import BotIdentity
from handlers.form import texts
from handlers.form.about import About
from handlers.form.choices import match
from handlers.form.draft import NOT_READ, SUMMARY, Known, Written, values_in
from handlers.form.first_message import summary_of
from handlers.form.lookups import Lookups, is_project_key
from handlers.form.submission import Change, Submission
from handlers.form.values import Fault
from handlers.form.view import Screen, form_view, loading_view
from handlers.slack_api import OpenedView, SlackApi
from threadsync.actors import SlackActor
from threadsync.forms import DraftFound, FormFields, ProjectList

log = structlog.get_logger(__name__)

FORM_SECONDS: Final = 3.0
"""Longest wait for what a form asks for; without it the form asks for the essentials."""

CHECK_SECONDS: Final = 1.2
"""Longest wait for what a submission needs. Slack itself waits for three seconds, in which the person is
looked at, too, and the command is sent."""


_MESSAGE_SECONDS: Final = 1.5
"""Longest wait for the thread's first message, which the form can do without."""

_DRAFT_SECONDS: Final = 2.0
"""Longest wait for a draft, after which there is still time for the fields."""

_MOST_VIEWS: Final = 1_000


class FormFlow:
    """The form's way through Slack. Nothing in it must last: a person can press the button again."""

    def __init__(self, slack: SlackApi, lookups: Lookups, identity: BotIdentity) -> None:
        self._slack = slack
        self._lookups = lookups
        self._identity = identity
        self._changes: OrderedDict[str, int] = OrderedDict()

    async def open(self, trigger_id: str, about: About) -> bool:
        """Open the form for a thread; False if Slack does not open it."""
        return await self._open(trigger_id, about, self._first_form(about, _Deadline(FORM_SECONDS)))

    async def fix(self, trigger_id: str, about: About, actor: SlackActor | None) -> bool:
        """Open the form with the draft of ``about.session_id``, for who wrote it; for others empty."""
        return await self._open(
            trigger_id, about, self._form_with_draft(about, actor, _Deadline(FORM_SECONDS))
        )

    async def change(self, change: Change) -> None:
        """Make the form anew for a project or type that was chosen; what stands above stays."""
        number = self._number_of(change)
        view = await self._changed_form(change, _Deadline(FORM_SECONDS))
        if self._changes.get(change.view_id) != number:
            # A later change makes it anew, with all that is chosen by then.
            return
        shown = await self._slack.update_view(OpenedView(change.view_id, change.view_hash), view)
        if not shown:
            log.info("form not changed")

    def _number_of(self, change: Change) -> int:
        """Count the changes of a view."""
        number = self._changes[change.view_id] = self._changes.pop(change.view_id, 0) + 1
        if len(self._changes) > _MOST_VIEWS:
            self._changes.popitem(last=False)
        return number

    async def check(self, submission: Submission, actor: SlackActor | None) -> Written:
        """Return what was sent, with people as accounts and choices by id, and what is wrong with it."""
        accounts, choices, kept = await asyncio.gather(
            self._accounts(submission.people), self._choices(submission), self._kept(submission, actor)
        )
        known, unknown = accounts
        found = submission.written(Known(choices=choices, accounts=known, unknown=unknown, kept=kept))
        is_lost = submission.needs_draft and kept is None
        if is_lost and NOT_READ not in found.faults.values():
            # Of a field that has no input.
            return Written(found.values, {SUMMARY: NOT_READ, **found.faults})
        return found

    async def _open(self, trigger_id: str, about: About, form: Any) -> bool:
        # It is asked for while Slack opens the view.
        making = asyncio.ensure_future(form)
        try:
            opened = await self._slack.open_view(trigger_id, loading_view(about))
            if opened is None:
                return False
            if not await self._slack.update_view(opened, await _made(making, about)):
                # Slack took the first view, and would take this one.
                await self._slack.update_view(opened, form_view(Screen(), about, notes=(texts.NO_FIELDS,)))
            return True
        finally:
            making.cancel()

    async def _first_form(self, about: About, deadline: _Deadline) -> dict[str, Any]:
        projects, fields, summary = await asyncio.gather(
            self._lookups.projects(deadline.left),
            self._fields_of_channel(about.channel_id, deadline),
            self._first_summary(about, min(_MESSAGE_SECONDS, deadline.left)),
        )
        values = {SUMMARY: summary} if summary else {}
        return _form(about, fields, projects, values)

    async def _form_with_draft(
        self, about: About, actor: SlackActor | None, deadline: _Deadline
    ) -> dict[str, Any]:
        asked = asyncio.ensure_future(self._lookups.projects(deadline.left))
        found = await self._draft(about.session_id, actor, min(_DRAFT_SECONDS, deadline.left))
        if found is None or found.outcome != "found":
            note = texts.DRAFT_NOT_READ if found is None else texts.NOT_YOURS
            fields = await self._fields_of_channel(about.channel_id, deadline)
            return _form(replace(about, session_id=None), fields, await asked, {}, notes=(note,))
        draft = found.values()
        place = (draft.get("project_key"), draft.get("issue_type"))
        if place[0] is None:
            of_channel = await self._lookups.place(about.channel_id)
            place = (of_channel[0], place[1] or of_channel[1])
        fields = await self._lookups.fields(deadline.left, *place)
        about = replace(about, project_key=place[0], issue_type=place[1], drafted_at=found.drafted_at)
        return _form(about, fields, await asked, values_in(draft), said=found.refused)

    async def _changed_form(self, change: Change, deadline: _Deadline) -> dict[str, Any]:
        about = change.about
        projects = await self._lookups.projects(deadline.left)
        try:
            project, kind = await self._chosen(change, projects, deadline)
        except Fault as exc:
            fields = await self._lookups.fields(deadline.left, about.project_key, about.issue_type)
            return _form(about, fields, projects, {}, notes=(str(exc),), before=change.view)
        fields = await self._lookups.fields(deadline.left, project, kind)
        about = replace(about, project_key=project, issue_type=kind)
        return _form(about, fields, projects, {}, before=change.view)

    async def _chosen(
        self, change: Change, projects: ProjectList | None, deadline: _Deadline
    ) -> tuple[str | None, str | None]:
        """Return the project and the type that were chosen. Raises ``Fault`` for a typed one that is none."""
        text, project = change.chosen, change.project_key
        if not change.is_project:
            if not change.is_typed:
                return project, text
            fields = await self._lookups.fields(deadline.left, project, change.issue_type)
            return project, match(fields.issue_types, text) if fields else text
        # Where the project does not have the type, its first one is taken.
        if not change.is_typed:
            return text, change.issue_type
        return await self._typed_project(text, projects, deadline), change.issue_type

    async def _typed_project(self, text: str, projects: ProjectList | None, deadline: _Deadline) -> str:
        """Return the key of a typed project. Raises ``Fault`` for one that Jira does not have."""
        if projects is None or projects.outcome != "known":
            if not is_project_key(text.upper()):
                raise Fault(texts.NO_SUCH_PROJECT.format(project=text))
            return text.upper()
        try:
            return match(projects.projects, text)
        except Fault:
            more = await self._lookups.projects(deadline.left, text) if projects.more else None
            if more is None:
                raise
        return match(more.projects, text)

    async def _fields_of_channel(self, channel_id: str, deadline: _Deadline) -> FormFields | None:
        place = await self._lookups.place(channel_id)
        return await self._lookups.fields(deadline.left, *place)

    async def _first_summary(self, about: About, within: float) -> str | None:
        messages = await self._slack.first_messages(about.channel_id, about.thread_ts, within)
        bot = self._identity.current()
        return summary_of(messages, bot.bot_id, bot.user_id)

    async def _draft(
        self, session_id: str | None, actor: SlackActor | None, within: float
    ) -> DraftFound | None:
        if session_id is None or actor is None:
            return DraftFound(outcome="none")
        return await self._lookups.draft(within, session_id, actor)

    async def _accounts(self, people: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return accounts by Slack user, and sentences on users without one."""
        users = sorted(people)
        found = await asyncio.gather(*(self._lookups.person(CHECK_SECONDS, user) for user in users))
        answers = [(user, person) for user, person in zip(users, found, strict=True) if person is not None]
        accounts = {user: person.account for user, person in answers if person.account}
        unknown = {
            user: texts.NO_ACCOUNT
            for user, person in answers
            if person.outcome in ("unknown", "not_configured")
        }
        return accounts, unknown

    async def _choices(self, submission: Submission) -> dict[str, Sequence[Any]]:
        about = submission.about
        if not submission.has_typed_choices:
            return {}
        fields = await self._lookups.fields(CHECK_SECONDS, about.project_key, about.issue_type)
        return {item.id: item.choices for item in fields.fields} if fields else {}

    async def _kept(self, submission: Submission, actor: SlackActor | None) -> Mapping[str, Any] | None:
        """Return the values that the form was filled in with; None where they cannot be read again."""
        about = submission.about
        if not submission.needs_draft:
            return None
        if about.session_id is None:
            summary = await self._first_summary(about, CHECK_SECONDS)
            return {SUMMARY: summary} if summary else None
        found = await self._draft(about.session_id, actor, CHECK_SECONDS)
        if found is None or found.outcome != "found" or found.drafted_at != about.drafted_at:
            return None
        return values_in(found.values())


async def _made(making: asyncio.Future[dict[str, Any]], about: About) -> dict[str, Any]:
    """Return the form; the essentials if something of ours failed, for a person waits."""
    try:
        return await making
    except Exception as exc:  # noqa: BLE001 - its text may quote what people wrote
        log.warning("form not made", error_type=type(exc).__name__)
        return form_view(Screen(), about, notes=(texts.NO_FIELDS,))


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._until = monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._until - monotonic())


def _form(
    about: About,
    fields: FormFields | None,
    projects: ProjectList | None,
    values: Mapping[str, Any],
    *,
    said: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the form with what was looked up in time; else with the essentials, and why."""
    offered = projects.projects if projects else ()
    if fields is not None and fields.outcome == "known":
        about = replace(about, project_key=fields.project_key, issue_type=fields.issue_type)
        screen = Screen(fields.fields, offered, fields.issue_types, fields.unaskable)
    else:
        outcome = fields.outcome if fields else None
        project = fields.project_key if fields else None
        notes = (*notes, texts.on_fields(outcome, project or about.project_key))
        screen = Screen(projects=offered if outcome == "no_such_project" or before else ())
    return form_view(screen, about, values, said=said, notes=notes, before=before)

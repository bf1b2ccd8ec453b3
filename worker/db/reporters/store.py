"""Projects in which naming the requester as a ticket's reporter did not work: note them, and ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from worker.db.reporters import sql
from worker.db.store import Store

Problem = Literal["hidden", "refused"]


@dataclass(frozen=True, slots=True)
class ReporterProblem:
    """A problem of a project, and when it was met last. ``jira_id`` is the ticket that is hidden from us."""

    project_key: str
    problem: Problem
    jira_id: str | None
    noted_at: datetime


class ReporterStore(Store):
    """Store of these projects; each method is one statement."""

    def note_hidden(self, site: str, project_key: str, jira_id: str) -> None:
        """Note that our account cannot see a ticket that names its requester as the reporter."""
        self._note(site, project_key, "hidden", jira_id)

    def note_refused(self, site: str, project_key: str) -> None:
        """Note that Jira did not take a ticket because of its reporter."""
        self._note(site, project_key, "refused", None)

    def is_hidden(self, site: str, project_key: str) -> bool:
        """Return True if the project's tickets go without a reporter, because we would not see them."""
        return bool(self._rows(sql.HIDDEN, {"site": site, "project_key": project_key}))

    def take_look(self, site: str, project_key: str, again_after: float) -> str | None:
        """Return the id of the hidden ticket if it is time to look at it again; the caller is to do it.

        Args:
            again_after: seconds since the last look.
        """
        params = {"site": site, "project_key": project_key, "again_after": again_after}
        rows = self._rows(sql.TAKE_LOOK, params)
        return rows[0]["jira_id"] if rows else None

    def end_hidden(self, site: str, project_key: str) -> None:
        """Note that our account sees the ticket by now, so that others may name a reporter again."""
        self._rows(sql.END_HIDDEN, {"site": site, "project_key": project_key})

    def problems(self, site: str) -> list[ReporterProblem]:
        """Return the site's problems that are not over; refusals of the last 30 days."""
        rows = self._rows(sql.OPEN_PROBLEMS, {"site": site})
        return [ReporterProblem(**row) for row in rows]

    def _note(self, site: str, project_key: str, problem: Problem, jira_id: str | None) -> None:
        params = {"site": site, "project_key": project_key, "problem": problem, "jira_id": jira_id}
        self._rows(sql.NOTE, params)

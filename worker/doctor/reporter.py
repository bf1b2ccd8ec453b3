"""Check the reporters of tickets: where Jira did not take the requester, or the ticket was then hidden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from threadsync.config import Settings
from threadsync.errors import DatabaseUnavailable, InvalidSettings, ThreadsyncError
from threadsync.marker import site_of
from worker.db.pool import single_connection
from worker.db.reporters.sql import OPEN_PROBLEMS
from worker.db.reporters.store import ReporterProblem
from worker.doctor.finding import Finding, ok, skipped, warning

CHECK: Final = "jira: reporter"
CHECKS: Final = (CHECK,)
_NAMED: Final = 5
_HIDDEN_FIX: Final = (
    "let the account of the login browse these projects, and tickets of every security level; within an hour "
    "tickets name the requester again. Or set JIRA_REPORTER=account"
)
_REFUSED_FIX: Final = (
    "give the account of the login the permission Modify Reporter, and requesters the one to create tickets; "
    "put the field Reporter on the create screen. Or set JIRA_REPORTER=account"
)


def examine_reporter(settings: Settings) -> Iterator[Finding]:
    """Read from Postgres what workers met at the Jira that the settings name."""
    if settings.jira_reporter == "account" or not settings.jira_url:
        yield skipped(CHECK, "tickets are those of the login's account (JIRA_REPORTER=account)")
        return
    if not settings.database_url:
        yield skipped(CHECK, "DATABASE_URL is not set")
        return
    try:
        with single_connection(settings.database_url.get_secret_value()) as connection:
            params = {"site": site_of(settings.jira_url), "now": None}
            found = [ReporterProblem(**row) for row in connection.execute(OPEN_PROBLEMS, params)]
    except (DatabaseUnavailable, InvalidSettings):
        yield skipped(CHECK, "Postgres does not answer")
    except ThreadsyncError:
        # Of a database that was not migrated; other checks say so.
        yield skipped(CHECK, "this login may not read it")
    else:
        yield from judge(found)


def judge(found: Sequence[ReporterProblem]) -> Iterator[Finding]:
    """Judge the problems that are not over."""
    hidden = [problem for problem in found if problem.problem == "hidden"]
    refused = [problem for problem in found if problem.problem == "refused"]
    if hidden:
        tickets = _list(f"{problem.project_key} (id {problem.jira_id})" for problem in hidden)
        what = f"our account cannot see a ticket that names its requester, so they go without: {tickets}"
        yield warning(CHECK, what, _HIDDEN_FIX)
    if refused:
        last = _list(f"{problem.project_key} ({problem.noted_at:%Y-%m-%d})" for problem in refused)
        yield warning(CHECK, f"Jira did not take a requester as the reporter: {last}", _REFUSED_FIX)
    if not found:
        yield ok(CHECK, "Jira takes the requester as the reporter, and our account sees the tickets")


def _list(texts: Iterable[str]) -> str:
    every = list(texts)
    return ", ".join(every[:_NAMED]) + (f" and {len(every) - _NAMED} more" if len(every) > _NAMED else "")

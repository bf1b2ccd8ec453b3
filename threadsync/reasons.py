"""Sentences for the reasons of a sync's state: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REASONS: Final[Mapping[str, str]] = {
    "not_reached": "Jira could not be reached; nothing was created.",
    "edge_refused": "something in front of Jira refused the request; nothing was created.",
    "rate_limit": "Jira asks us to slow down; nothing was created.",
    "no_answer": "Jira gave no clear answer, so there may be a ticket; we look for it before we ask again.",
    "worker_died": "the worker ended while Jira was creating the ticket; we look for it before we ask again.",
    "look_refused": "there may be a ticket, and Jira refuses to be asked for it. Check JIRA_URL, "
    "JIRA_DEPLOYMENT, JIRA_API_TOKEN and the account's permissions; the rest happens by itself.",
    "web_page": "a web page came in place of Jira's answer, perhaps a login page; nothing was created. Check "
    "JIRA_URL, and that the worker reaches Jira without one; the rest happens by itself.",
    "create_again": "no ticket came of the last try, which is certain by now; it is tried again.",
    "no_access": "Jira does not accept our credentials, or they may not do this. Check JIRA_EMAIL, "
    "JIRA_API_TOKEN and the account's permissions, then: threadsync syncs retry --all-blocked",
    "not_found": "Jira does not know the project, the issue type or the address. Check JIRA_URL, "
    "JIRA_DEPLOYMENT, JIRA_PROJECT_KEY and JIRA_ISSUE_TYPE, then: threadsync syncs retry --all-blocked",
    "set_up": "Jira's set-up does not allow this ticket, a required field for instance. An administrator "
    "must look; then: threadsync syncs retry --all-blocked",
    "no_project": "neither the draft nor JIRA_PROJECT_KEY says which project. Set it, then: "
    "threadsync syncs retry --all-blocked",
    "not_configured": "the worker has no Jira to go to. Set JIRA_URL, JIRA_API_TOKEN and JIRA_PROJECT_KEY, "
    "and start it again; the rest happens by itself.",
    "draft_refused": "Jira refused what the draft says. Send another draft.",
    "given_up": "somebody gave it up.",
    "unlinked": "a person took its ticket off. Another one is made when it is asked for anew.",
    "moved": "the channel got another id, and another session of this thread has its ticket.",
    "forgotten": "the thread was forgotten, so no ticket is made any more.",
    "draft_expired": "its draft was older than RETENTION_DRAFTS_DAYS and is gone. Send another draft.",
    "kept_failing": "it failed for 24 hours. Find out why, then: threadsync syncs retry",
    "not_confirmed": "for 24 hours Jira could not tell whether there is a ticket. Look for it, then: "
    "threadsync syncs link, or threadsync syncs retry",
    "draft_unreadable": "the stored draft cannot be read, so nothing was created. Send another draft.",
    "absent_again": "no ticket came of any try that Jira gave no answer to. Look for one, then: "
    "threadsync syncs link, or threadsync syncs retry",
    "several_tickets": "more than one ticket has this thread's marker. Choose one: threadsync syncs link",
    "two_tickets": "while a ticket was being created somebody linked the thread to another one. Both exist; "
    "close one, then retry.",
    "site_changed": "JIRA_URL changed while a ticket was maybe created at the old address. Look for it "
    "there, then: threadsync syncs link, or threadsync syncs retry",
    "worker_died_often": "five workers in a row ended while they worked on it. See their logs, then: "
    "threadsync syncs retry",
}


def explain(reason: str | None) -> str:
    """Return the sentence for a reason's code; the code itself if a newer worker wrote it."""
    return REASONS.get(reason, reason) if reason else ""

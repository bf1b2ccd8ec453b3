"""Sentences for the reasons of a sync's state: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REASONS: Final[Mapping[str, str]] = {
    "not_reached": "Jira could not be reached; nothing was created.",
    "edge_refused": "a proxy or firewall in front of Jira refused the request; nothing was created.",
    "rate_limit": "Jira asks us to slow down; nothing was created.",
    "no_answer": "Jira gave no clear response, so a ticket may exist; it is looked for before another one "
    "is created.",
    "worker_died": "the worker stopped while Jira was creating the ticket; it is looked for before another "
    "one is created.",
    "look_refused": "a ticket may exist, and Jira refuses to be searched for it. Check JIRA_URL, "
    "JIRA_DEPLOYMENT, the login and the account's permissions; the sync then continues by itself.",
    "web_page": "a web page came instead of Jira's response, perhaps a login page; nothing was created. "
    "Check JIRA_URL, and that the worker reaches Jira without one; the sync then continues by itself.",
    "create_again": "the last attempt certainly created no ticket; it is repeated.",
    "token_renewed": "Jira no longer accepted the access token; it is tried once with a new one.",
    "reporter_refused": "Jira did not take the requester as the reporter; the ticket is created without.",
    "scope_missing": "the token lacks a scope; threadsync doctor lists those that are needed. Give it the "
    "scope; one sync tries every 15 minutes, and all continue when it is accepted. At once: threadsync syncs "
    "retry --all-blocked",
    "no_access": "Jira rejects the credentials, or the account lacks a permission. Check the login "
    "(threadsync doctor) and the account's permissions, then: threadsync syncs retry --all-blocked",
    "not_found": "Jira does not know the project, the issue type or the address. Check JIRA_URL, "
    "JIRA_DEPLOYMENT, JIRA_PROJECT_KEY and JIRA_ISSUE_TYPE, then: threadsync syncs retry --all-blocked",
    "set_up": "Jira's configuration does not allow this ticket, for example because of a required field. A "
    "Jira administrator must change it; then: threadsync syncs retry --all-blocked",
    "no_project": "neither the draft nor JIRA_PROJECT_KEY names a project. Set it, then: threadsync syncs "
    "retry --all-blocked",
    "not_configured": "the worker has no settings for Jira. Set JIRA_URL, a login such as "
    "JIRA_EMAIL and JIRA_API_TOKEN, and JIRA_PROJECT_KEY, and restart it; the sync then continues by itself.",
    "draft_refused": "Jira refused the draft. Send another one.",
    "given_up": "an operator gave it up.",
    "unlinked": "a person unlinked its ticket. Another one is created when it is requested again.",
    "moved": "the channel's id changed, and another session of this thread has the ticket.",
    "forgotten": "the thread was forgotten, so no ticket is created.",
    "draft_expired": "its draft was older than RETENTION_DRAFTS_DAYS and was deleted. Send another draft.",
    "kept_failing": "it failed for 24 hours. Find the cause, then: threadsync syncs retry",
    "not_confirmed": "for 24 hours Jira could not tell whether a ticket exists. Look for it, then: "
    "threadsync syncs link, or threadsync syncs retry",
    "draft_unreadable": "the stored draft cannot be read, so nothing was created. Send another draft.",
    "absent_again": "repeated attempts got no response from Jira, and no ticket was found. Look for one, "
    "then: threadsync syncs link, or threadsync syncs retry",
    "cannot_see": "no ticket was found, but the account may not see one that another account created or that "
    "has another reporter, so none is created again. Look for it in Jira, then: threadsync syncs link; or "
    "let the account see the project's tickets, then: threadsync syncs retry",
    "several_tickets": "more than one ticket has this thread's marker. Choose one: threadsync syncs link",
    "two_tickets": "while a ticket was being created, a person linked the thread to another one. Both "
    "exist; close one, then retry.",
    "site_changed": "JIRA_URL changed before it was known whether the old site had created a ticket. Look "
    "for it there, then: threadsync syncs link, or threadsync syncs retry",
    "worker_died_often": "five workers in a row stopped while they worked on it. See their logs, then: "
    "threadsync syncs retry",
}


def explain(reason: str | None) -> str:
    """Return the sentence for a reason's code; the code itself if a newer worker wrote it."""
    return REASONS.get(reason, reason) if reason else ""

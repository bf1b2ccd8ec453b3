"""Find the Jira account of a Slack user, by the e-mail address that Slack tells, which goes no further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from threadsync.forms import JiraPerson
from worker.jira.answers import CallFailed
from worker.jira.form_lookups import forms_of
from worker.jira.setup import Setup
from worker.status_message.answers import Answer, Done, Refused
from worker.thread.slack import Calls

log = structlog.get_logger("threadsync.lookups")


def find_account(setup: Setup | None, slack: Calls | None, user_id: str) -> JiraPerson:
    """Ask Slack for the user's address, and Jira for its account. None: it is not configured here."""
    if setup is None or slack is None:
        return JiraPerson(outcome="not_configured")
    return account_in(setup, slack.call("users.info", user=user_id))


def account_in(setup: Setup, answer: Answer) -> JiraPerson:
    """Ask Jira for the account of the person whom Slack's answer to ``users.info`` is about."""
    if not isinstance(answer, Done):
        # Without the scope, for instance, Slack refuses; that stays so.
        log.info("person not looked up", reason=getattr(answer, "error", None) or type(answer).__name__)
        return JiraPerson(outcome="unknown" if isinstance(answer, Refused) else "no_answer")
    address = _address(answer.body)
    if address is None:
        return JiraPerson(outcome="unknown")
    try:
        account = forms_of(setup).account_of(address)
    except CallFailed as exc:
        log.info("account not looked up", reason=exc.answer.why)
        return JiraPerson(outcome="no_answer")
    return JiraPerson(outcome="known" if account else "unknown", account=account)


def _address(body: Mapping[str, Any]) -> str | None:
    """Return the e-mail address in Slack's answer: https://docs.slack.dev/reference/objects/user-object."""
    user = body.get("user")
    profile = user.get("profile") if isinstance(user, dict) else None
    address = profile.get("email") if isinstance(profile, dict) else None
    return address if isinstance(address, str) and "@" in address else None

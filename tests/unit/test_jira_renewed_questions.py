"""Questions of the form and of what follows a ticket, whose access token ends in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from sandbox.jira.issues import Draft
from sandbox.jira.logins import CLIENT_ID, CLIENT_SECRET
from sandbox.jira.site import JiraSite
from sandbox.jira.transport import SandboxTransport
from worker.jira.answers import AuthProblem, CallFailed, JiraAccount, OAuthClient
from worker.jira.client import JiraClient
from worker.jira.forms import JiraForms
from worker.jira.ticket_calls import TicketCalls

QUESTIONS: Final[dict[str, Callable[[JiraClient], object]]] = {
    "projects": lambda client: JiraForms(client, "cloud").projects()[0],
    "issue types": lambda client: JiraForms(client, "cloud").issue_types("PROJ"),
    "fields": lambda client: JiraForms(client, "cloud").fields("PROJ", "10001")[0],
    "account": lambda client: JiraForms(client, "cloud").account_of("ada@example.com"),
    "comments": lambda client: TicketCalls(client).comment_properties("PROJ-1"),
    "attachments": lambda client: TicketCalls(client).attachments("PROJ-1"),
}
WRITES: Final[dict[str, Callable[[JiraClient], object]]] = {
    "comment": lambda client: TicketCalls(client).add_comment("PROJ-1", {"type": "doc"}, "x", {}),
    "attachment": lambda client: TicketCalls(client).attach("PROJ-1", "a.txt", b"a", "text/plain"),
}


@pytest.fixture
def site() -> JiraSite:
    site = JiraSite()
    ticket = site.commit(Draft("PROJ", "Task", "One"))
    account = JiraAccount("https://jira.example", site.email, site.token)
    with JiraClient(account, SandboxTransport(site)) as client:
        body = {"type": "doc", "version": 1, "content": []}
        TicketCalls(client).add_comment(ticket.id, body, "x", {})
        TicketCalls(client).attach(ticket.id, "a.txt", b"a", "text/plain")
    return site


@pytest.fixture
def client(site: JiraSite) -> Iterator[JiraClient]:
    """A client by OAuth that has a token."""
    login = OAuthClient(CLIENT_ID, CLIENT_SECRET)
    account = JiraAccount("https://jira.example", None, "", cloud_id=site.cloud_id, oauth=login)
    with JiraClient(account, SandboxTransport(site)) as client:
        client.myself()
        yield client


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_is_asked_again(
    question: Callable[[JiraClient], object], client: JiraClient, site: JiraSite
) -> None:
    """A question whose token Jira refuses is asked once more with another one."""
    usual = question(client)
    assert usual
    site.logins.revoke_access_tokens()
    assert question(client) == usual


def test_a_question_is_asked_twice_at_most(client: JiraClient, site: JiraSite) -> None:
    """A login that Jira does not take at all is not renewed again and again."""
    site.logins.denied = {"comment"}
    with pytest.raises(CallFailed) as caught:
        TicketCalls(client).comment_properties("PROJ-1")
    assert isinstance(caught.value.answer, AuthProblem)
    tokens = [call.endpoint for call in site.calls].count("token")
    assert tokens <= 2


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_is_not_repeated(
    write: Callable[[JiraClient], object], client: JiraClient, site: JiraSite
) -> None:
    """What makes something is sent once; that it was refused is for its step to decide on."""
    site.logins.revoke_access_tokens()
    with pytest.raises(CallFailed) as caught:
        write(client)
    assert isinstance(caught.value.answer, AuthProblem)

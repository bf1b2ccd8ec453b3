"""Who asked for a ticket, by a real Slack and Jira on localhost: what is asked, and how long it is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from sandbox.faults import Hangs, Refused
from sandbox.jira.faults import Status
from sandbox.jira.server import JiraSandbox
from sandbox.slack.server import SlackSandbox
from tests.support.installation import Installation
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.actors import SlackActor
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.jira.answers import JiraAccount
from worker.jira.client import JiraClient
from worker.jira.setup import LOOKUP_SECONDS, Setup, Target
from worker.status_message.web_api import WebApi
from worker.thread.kept import KEPT_SECONDS, MOST_KEPT, Answered, Kept
from worker.thread.requesters import SILENT_SECONDS, Requesters

CHANNEL = "C0123"
ADA = SlackActor(user_id="U0456", team_id="T0SANDBOX")
ADA_IN_JIRA = "712020:sandbox-ada"
STRANGER = SlackActor(user_id="U0789", team_id="T0SANDBOX")


class Clock:
    """Seconds that only the test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    with JiraSandbox() as jira:
        yield jira


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.people["U0456"] = {"profile": {"email": "ada@example.com", "display_name": "Ada"}}
        yield slack


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def requesters(pool: Pool, jira: JiraSandbox, slack: SlackSandbox, clock: Clock) -> Iterator[Requesters]:
    account = JiraAccount(jira.url, jira.email, jira.token)
    target = Target(account, "jira.example", "PROJ", "Task", 600, 1, names_requester=True)
    api = WebApi(slack.token, slack.api_url, timeout=LOOKUP_SECONDS)
    with JiraClient(account) as client:
        yield Requesters(Setup(SyncStore(pool), client, target), api, clock)
    api.close()


def asked(slack: SlackSandbox) -> int:
    return len(slack.calls("users.info"))


def test_what_is_known_is_asked_once(
    requesters: Requesters, jira: JiraSandbox, slack: SlackSandbox, clock: Clock
) -> None:
    """Account and name come by one question, and for ten minutes there is no other one."""
    for _ in range(3):
        assert requesters.account_of("U0456") == ADA_IN_JIRA
        assert requesters.name_of("U0456") == "Ada"
    assert (asked(slack), len(jira.site.calls)) == (1, 1)
    clock.now = KEPT_SECONDS + 1
    assert requesters.account_of("U0456") == ADA_IN_JIRA
    assert (asked(slack), len(jira.site.calls)) == (2, 2)


def test_that_nobody_is_known_is_kept_too(
    requesters: Requesters, jira: JiraSandbox, slack: SlackSandbox
) -> None:
    """A person without an account in Jira, or whom Slack does not tell, is not looked up each time."""
    slack.fail("users.info", Refused("user_not_found"))
    for user in ("U0NOBODY", "U0NOBODY", "U0789", "U0789"):
        assert requesters.account_of(user) is None
    assert (asked(slack), len(jira.site.calls)) == (2, 1)


def test_what_jira_did_not_answer_is_asked_again(requesters: Requesters, jira: JiraSandbox) -> None:
    """An account that could not be looked up is looked up at the next attempt."""
    jira.site.fail("user.search", Status(503))
    assert requesters.account_of("U0456") is None
    assert requesters.account_of("U0456") == ADA_IN_JIRA


def test_a_silent_slack_is_waited_for_once(requesters: Requesters, slack: SlackSandbox, clock: Clock) -> None:
    """A step waits once for a Slack that does not answer, within its limit; a later one asks again."""
    slack.fail("users.info", Hangs(30))
    began = time.monotonic()
    assert requesters.account_of("U0456") is None
    assert requesters.name_of("U0456") is None
    assert LOOKUP_SECONDS - 0.5 < time.monotonic() - began < LOOKUP_SECONDS + 1.5
    assert asked(slack) == 1
    clock.now = SILENT_SECONDS + 0.1
    assert requesters.account_of("U0456") == ADA_IN_JIRA


def test_what_is_kept_is_bounded() -> None:
    """A process keeps so many answers at most."""
    kept: Kept[int] = Kept(Clock())
    for number in range(MOST_KEPT + 1):
        kept.put(f"U{number}", number)
    assert kept.get("U0") is None
    assert kept.get(f"U{MOST_KEPT}") == Answered(MOST_KEPT)


@pytest.mark.parametrize(
    ("actor", "is_away", "expected", "name"),
    [(ADA, False, ADA_IN_JIRA, "Ada"), (STRANGER, False, None, "u0789"), (ADA, True, None, "U0456")],
    ids=["known", "unknown", "Slack is away"],
)
def test_the_requester_becomes_the_reporter(
    installation: Installation,
    jira: JiraSandbox,
    slack: SlackSandbox,
    actor: SlackActor,
    is_away: bool,
    expected: str | None,
    name: str,
) -> None:
    """A worker's ticket has who asked as its reporter, where that is known now, and in its description."""
    if is_away:
        slack.fail("users.info", *[Hangs(60)] * 20)
    env = {
        **jira.settings(),
        "JIRA_PROJECT_KEY": "PROJ",
        "JIRA_REPORTER": "requester",
        "SLACK_BOT_TOKEN": slack.token,
        "SLACK_API_URL": slack.api_url,
    }
    thread = "1700000000.000100"
    worker = installation.worker("worker", "--queues", "sessions,syncs", **env)
    with worker, SessionClient(installation.broker_url) as client:
        client.get_or_create(CHANNEL, thread, actor.user_id).get(30)
        draft = {"summary": "It broke", "description": "As told"}
        client.request_sync(CHANNEL, thread, draft, "1700000100.000100", actor=actor).get(30)
        wait_until(lambda: jira.site.issues, "the ticket is there", 20)
    bot = next(account.id for account in jira.site.accounts if account.email == jira.email)
    [ticket] = jira.site.issues
    assert ticket.reporter == (expected or bot)
    assert ticket.properties["threadsync"]["requester"] == actor.user_id
    assert f"Requested in Slack by {name}." in json.dumps(ticket.description)

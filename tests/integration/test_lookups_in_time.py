"""Lookups have a worker of their own: processes as docker-compose.yml divides them, and a Jira that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.form import texts
from sandbox.jira.faults import Fault, Hang
from sandbox.jira.server import JiraSandbox
from sandbox.slack.requests import button_click
from sandbox.slack.server import SlackSandbox
from tests.support.installation import Installation
from tests.support.slack_app import eventually, form_in, running_app
from tests.support.waiting import wait_until
from threadsync import SessionClient
from threadsync.actors import SlackActor
from threadsync.command import Command
from threadsync.lookup_commands import DraftLookup, FormFieldsLookup, IssueTypesLookup, ProjectsLookup

ANN = SlackActor(user_id="U0456", team_id="T0SANDBOX")
CHANNEL = "C0123"
SYNCS = 6
PROCESSES = 2
"""Of each worker of these tests."""
IN_TIME = 3.0


@pytest.fixture
def jira() -> Iterator[JiraSandbox]:
    """A Jira that answers all that a form asks, and none of the calls of a sync."""

    def plan(endpoint: str, body: object) -> Fault | None:
        is_of_a_form = endpoint.partition(".")[0] in ("createmeta", "project", "user")
        return None if is_of_a_form else Hang(120, committed=False)

    with JiraSandbox() as jira:
        jira.site.plan = plan
        yield jira


async def test_lookups_answer_in_time_while_every_sync_hangs(
    installation: Installation, jira: JiraSandbox
) -> None:
    """With every process of the syncs' worker held by Jira, a lookup and the form take less than 3 s."""
    env = {
        "JIRA_URL": jira.url,
        "JIRA_EMAIL": jira.email,
        "JIRA_API_TOKEN": jira.token,
        "JIRA_PROJECT_KEY": "PROJ",
    }
    sessions = installation.worker("sessions", "--queues", "sessions,maintenance", **env)
    syncs = installation.worker("syncs", "--queues", "syncs", **env)
    lookups = installation.worker("lookups", "--queues", "lookups", "--prefetch-multiplier", "1", **env)
    with sessions, syncs, lookups, SessionClient(installation.broker_url) as client, SlackSandbox() as slack:
        threads = [f"170000000{number}.000100" for number in range(SYNCS)]
        for thread in threads:
            client.get_or_create(CHANNEL, thread, "U0456").get(30)
        draft = {"summary": "It broke"}
        asked = [
            client.request_sync(CHANNEL, thread, draft, "1700000100.000100", actor=ANN).get(30)
            for thread in threads
        ]
        wait_until(lambda: len(jira.site.calls) >= PROCESSES, "every process waits for Jira", 30)

        questions: tuple[Command[Any], ...] = (
            ProjectsLookup(),
            IssueTypesLookup(project_key="PROJ"),
            FormFieldsLookup(),
            DraftLookup(session_id=asked[-1].id, actor=ANN),
        )
        for question in questions:
            began = time.monotonic()
            client.enqueue(question).get(IN_TIME)
            assert time.monotonic() - began < IN_TIME, question.name

        async with running_app(
            celery_broker_url=installation.broker_url, slack_api_url=slack.api_url, jira_url=jira.url
        ) as app:
            began = time.monotonic()
            click = button_click(
                "threadsync_create", threads[0], CHANNEL, "U0456", message_ts="1700000001.000100"
            )
            assert (await app.deliver(click)).status_code == 200
            await eventually(lambda: form_in(slack), "the form has its fields")
            assert time.monotonic() - began < IN_TIME
        assert texts.NO_FIELDS not in str(form_in(slack))
        assert "labels" in [block["block_id"] for block in form_in(slack)["blocks"] if "element" in block]
        assert jira.site.issues == ()

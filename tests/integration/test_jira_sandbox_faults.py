"""The sandbox Jira's faults as a client sees them, the same over sockets and in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from sandbox.jira.faults import (
    BURST,
    GLOBAL_QUOTA,
    ISSUE_WRITES,
    TENANT_QUOTA,
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    Redirect,
    Refuse,
    Slow,
    Status,
    StripLabel,
    Throttle,
    Truncated,
)
from tests.support.jira_clients import ENDED, IN_PROCESS, PATIENCE, SOCKETS, Jira, jira_over
from tests.support.jira_requests import create_body


@pytest.fixture(params=[SOCKETS, IN_PROCESS])
async def jira(request: pytest.FixtureRequest) -> AsyncIterator[Jira]:
    async with jira_over(request.param) as jira:
        yield jira


@pytest.mark.parametrize(
    ("fault", "tickets"),
    [(CommitThenDrop(), 1), (DropBeforeCommit(), 0), (CommitLate(9), 0), (Hang(0.01, committed=True), 1)],
)
async def test_a_connection_that_ends(fault: Fault, tickets: int, jira: Jira) -> None:
    """A create whose connection ends raises the same error whether or not the ticket was made."""
    jira.site.fail("create", fault)
    with pytest.raises(ENDED):
        await jira.create()
    assert len(jira.site.issues) == tickets


@pytest.mark.parametrize(
    ("fault", "tickets"),
    [
        (Hang(60, committed=True), 1),
        (Hang(60, committed=False), 0),
        (Slow(60), 1),
        (CommitLate(60, "hang"), 0),
    ],
)
async def test_no_answer_in_time(fault: Fault, tickets: int, jira: Jira) -> None:
    """A create without a response in time raises ReadTimeout, whether or not the ticket was made."""
    started = jira.clock()
    jira.site.fail("create", fault)
    with pytest.raises(httpx.ReadTimeout):
        await jira.create()
    assert len(jira.site.issues) == tickets
    assert jira.clock() - started == (PATIENCE if jira.is_virtual else 0)


async def test_a_slow_answer_is_a_good_one(jira: Jira) -> None:
    """A slow response is successful within the client's time-out."""
    jira.site.fail("create", Slow(0.05))
    assert (await jira.create()).status_code == 201


async def test_half_an_answer(jira: Jira) -> None:
    """A truncated response raises an error although the ticket was made."""
    jira.site.fail("create", Truncated())
    with pytest.raises(ENDED):
        await jira.create()
    assert len(jira.site.issues) == 1


@pytest.mark.parametrize(
    ("fault", "status", "kind", "tickets"),
    [
        (CommitThenStatus(503), 503, "application/json", 1),
        (Status(502), 502, "application/json", 0),
        (CommitLate(9, "status"), 503, "application/json", 0),
        (NotJson(), 201, "text/html", 1),
        (HtmlRefusal(), 403, "text/html", 0),
        (HtmlRefusal(400), 400, "text/html", 0),
        (Refuse(422, ("No.",), {"summary": "Bad."}), 422, "application/json", 0),
        (StripLabel(), 201, "application/json", 1),
    ],
)
async def test_answers_that_are_not_what_they_should_be(
    fault: Fault, status: int, kind: str, tickets: int, jira: Jira
) -> None:
    """A faulty response has its own status and content type, and the ticket is made or not as it says."""
    jira.site.fail("create", fault)
    answer = await jira.create()
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(kind)
    assert len(jira.site.issues) == tickets
    if isinstance(fault, Refuse):
        assert answer.json() == {"errorMessages": ["No."], "errors": {"summary": "Bad."}}


async def test_a_redirect_is_one(jira: Jira) -> None:
    """A redirect leads to the given login page with status 302."""
    jira.site.fail("create", Redirect("https://login.example/"))
    answer = await jira.create()
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://login.example/")


@pytest.mark.parametrize("reason", [BURST, ISSUE_WRITES, GLOBAL_QUOTA, TENANT_QUOTA])
async def test_a_limit_of_cloud(reason: str, jira: Jira) -> None:
    """A limit of Cloud names its reason and its end in its headers, or neither."""
    jira.site.fail("create", Throttle(90, reason), Throttle(None, reason))
    headers = (await jira.create()).headers
    assert headers["Retry-After"] == "90"
    assert headers["RateLimit-Reason"] == reason
    assert headers["X-RateLimit-Remaining"] == "0"
    reset = datetime.strptime(headers["X-RateLimit-Reset"], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
    assert 0 <= jira.clock() + 90 - reset.timestamp() < 60
    assert ("Beta-RateLimit" in headers) is ("quota" in reason)
    silent = await jira.create()
    assert silent.status_code == 429
    assert not {"retry-after", "x-ratelimit-reset", "beta-ratelimit"} & set(silent.headers)
    assert jira.site.issues == ()


async def test_a_limit_of_a_data_center(jira: Jira) -> None:
    """A limit of a Data Center names its end and the bucket's fill rate, and no reason."""
    jira.site.fail("create", Throttle(2.5))
    answer = await jira.http.post("2/issue", json=create_body())
    assert answer.headers["Retry-After"] == "3"
    assert answer.headers["X-RateLimit-FillRate"] == "1"
    assert "RateLimit-Reason" not in answer.headers


async def test_a_site_that_is_down(jira: Jira) -> None:
    """A site that is down refuses calls until it is up again."""
    jira.site.is_down = True
    with pytest.raises(httpx.ConnectError if jira.is_virtual else ENDED):
        await jira.create()
    assert jira.site.calls == []
    jira.site.is_down = False
    assert (await jira.create()).status_code == 201

"""The four logins: where requests go, as whom, and what becomes of tokens that end."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.http_once import HttpResponse, NotSent, Unknown
from worker.jira.answers import AuthProblem, CallFailed, Created, JiraAccount, OAuthClient, Throttled
from worker.jira.client import JiraClient
from worker.jira.login.choice import choose, questions_of, sender_of
from worker.jira.login.client_credentials import AGAIN_SECONDS, ClientCredentials
from worker.jira.login.grant import LONGEST_LIFE_SECONDS, Grant, read_grant
from worker.jira.login.renewal import renewed_once
from worker.jira.login.scopes import NEEDED, missing_scopes

SITE: Final = "https://example.atlassian.net"
GATEWAY: Final = "https://gateway.example/base"
TOKEN_URL: Final = "https://auth.example/oauth/token"
CLOUD_ID: Final = "11223344-a1b2-4b33-c444-def123456789"
AT_THE_GATEWAY: Final = f"{GATEWAY}/ex/jira/{CLOUD_ID}"
CLIENT: Final = OAuthClient("client-1", "hunter3", TOKEN_URL)
BASIC: Final = "Basic " + base64.b64encode(b"me@example.com:hunter2").decode()
CREATED: Final = {"id": "10007", "key": "PROJ-7"}
NOW: Final = datetime(2026, 11, 30, tzinfo=UTC)

CLASSIC: Final = JiraAccount(SITE, "me@example.com", "hunter2")
SCOPED: Final = JiraAccount(SITE, "me@example.com", "hunter2", cloud_id=CLOUD_ID, gateway=GATEWAY)
ASKED: Final = JiraAccount(SITE, "me@example.com", "hunter2", cloud_id="auto", gateway=f"{GATEWAY}/")
OAUTH: Final = JiraAccount(SITE, None, "", gateway=GATEWAY, oauth=CLIENT)
DATA_CENTER: Final = JiraAccount("https://jira.example.com/jira/", None, "hunter2", "datacenter")
WITH_PASSWORD: Final = JiraAccount("https://jira.example.com", "me@example.com", "hunter2", "datacenter")


class Atlassian(httpx.AsyncBaseTransport):
    """Site, gateway and token server, which count what they are asked for.

    ``refused`` are access tokens that Jira answers with ``refusal``.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.tokens = 0
        self.life: Any = 3600
        self.refused: set[str] = set()
        self.refusal: Any = {"code": 401, "message": "Unauthorized"}
        self.token_answer: httpx.Response | Exception | None = None
        self.tenant_answer: httpx.Response | Exception | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        url = str(request.url)
        if url == TOKEN_URL:
            if self.token_answer is not None:
                return _given(self.token_answer)
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"t{self.tokens}", "expires_in": self.life})
        if url == f"{SITE}/_edge/tenant_info":
            return _given(self.tenant_answer or httpx.Response(200, json={"cloudId": CLOUD_ID.upper()}))
        if request.headers["authorization"].removeprefix("Bearer ") in self.refused:
            return httpx.Response(401, json=self.refusal)
        return httpx.Response(201, json=CREATED) if request.method == "POST" else httpx.Response(200, json={})

    @property
    def urls(self) -> list[str]:
        return [str(request.url) for request in self.requests]

    @property
    def authorizations(self) -> list[str | None]:
        return [request.headers.get("authorization") for request in self.requests]


def _given(answer: httpx.Response | Exception) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def away() -> httpx.ConnectError:
    return httpx.ConnectError("All connection attempts failed: hunter3")


def failure_of(call: Callable[[], object]) -> Any:
    with pytest.raises(CallFailed) as caught:
        call()
    assert "hunter" not in str(caught.value)
    return caught.value.answer


@pytest.mark.parametrize(
    ("account", "url", "authorization"),
    [
        (CLASSIC, f"{SITE}/rest/api/3/myself", BASIC),
        (SCOPED, f"{AT_THE_GATEWAY}/rest/api/3/myself", BASIC),
        (ASKED, f"{AT_THE_GATEWAY}/rest/api/3/myself", BASIC),
        (OAUTH, f"{AT_THE_GATEWAY}/rest/api/3/myself", "Bearer t1"),
        (DATA_CENTER, "https://jira.example.com/jira/rest/api/2/myself", "Bearer hunter2"),
        (WITH_PASSWORD, "https://jira.example.com/rest/api/2/myself", BASIC),
    ],
    ids=["classic", "scoped", "scoped, asked", "OAuth", "Data Center", "Data Center with a password"],
)
def test_where_requests_go_and_as_whom(account: JiraAccount, url: str, authorization: str) -> None:
    """Each login has its address and header, and no token goes anywhere else."""
    atlassian = Atlassian()
    with JiraClient(account, atlassian) as client:
        client.myself()
    assert (atlassian.urls[-1], atlassian.authorizations[-1]) == (url, authorization)
    assert set(atlassian.authorizations[:-1]) <= {None}
    assert "hunter" not in repr(account) + repr(choose(account).access_at_hand())


def test_the_id_of_the_site_is_asked_once() -> None:
    """`auto` asks the site for its id before the first request, and never again."""
    atlassian = Atlassian()
    with JiraClient(ASKED, atlassian) as client:
        for _ in range(3):
            client.myself()
    assert atlassian.urls == [
        f"{SITE}/_edge/tenant_info",
        *[f"{AT_THE_GATEWAY}/rest/api/3/myself"] * 3,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        away(),
        httpx.ReadTimeout("slow"),
        httpx.Response(503, text="away"),
        httpx.Response(404, text="<html>"),
        httpx.Response(302, headers={"Location": "https://sso.example"}),
        httpx.Response(200, text="<html>log in</html>"),
        httpx.Response(200, json={"cloudId": "../../x"}),
        httpx.Response(200, json={"cloudId": None}),
        httpx.Response(200, json=[]),
    ],
    ids=str,
)
@pytest.mark.parametrize("account", [ASKED, OAUTH], ids=["scoped", "OAuth"])
def test_without_the_id_it_is_as_if_jira_were_away(
    account: JiraAccount, answer: httpx.Response | Exception
) -> None:
    """While the site does not say its id nothing is sent, and work waits; then it is asked again."""
    atlassian = Atlassian()
    atlassian.tenant_answer = answer
    with JiraClient(account, atlassian) as client:
        assert type(failure_of(client.myself)) is NotSent
        assert type(client.create({}, "slk-x", 1)) is NotSent
        assert atlassian.urls == [f"{SITE}/_edge/tenant_info"]
        atlassian.tenant_answer = None
        client.myself()


def test_the_token_server_gets_the_client_as_json() -> None:
    """The token server gets the client's id and secret as JSON, and its token is kept."""
    atlassian = Atlassian()
    with JiraClient(OAUTH, atlassian) as client:
        client.myself()
        client.myself()
    [asked] = [request for request in atlassian.requests if str(request.url) == TOKEN_URL]
    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.content) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "hunter3",
    }
    assert atlassian.authorizations[-2:] == ["Bearer t1", "Bearer t1"]


def test_a_token_is_renewed_at_80_percent_of_its_life() -> None:
    """A token is used for 80 % of its life by the monotonic clock, then another one."""
    atlassian, clock = Atlassian(), Clock()
    atlassian.life = 100
    with JiraClient(OAUTH, atlassian, clock) as client:
        for seconds, token in ((0, "t1"), (79, "t1"), (1, "t2"), (79, "t2"), (2, "t3")):
            clock.now += seconds
            client.myself()
            assert atlassian.authorizations[-1] == f"Bearer {token}"


def test_a_token_server_that_is_away_ends_no_token() -> None:
    """While the token server is away the old token is used to its end, and the server asked now and then."""
    atlassian, clock = Atlassian(), Clock()
    atlassian.life = 1000
    with JiraClient(OAUTH, atlassian, clock) as client:
        client.myself()
        clock.now += 900
        atlassian.token_answer = away()
        for _ in range(3):
            client.myself()
        assert atlassian.urls.count(TOKEN_URL) == 2
        clock.now += AGAIN_SECONDS
        client.myself()
        assert atlassian.urls.count(TOKEN_URL) == 3
        assert set(atlassian.authorizations) <= {None, "Bearer t1"}
        clock.now += 70
        assert type(failure_of(client.myself)) is NotSent
        atlassian.token_answer = None
        client.myself()
    assert atlassian.authorizations[-1] == "Bearer t2"


def test_a_refused_token_is_dropped_and_nothing_is_sent_again() -> None:
    """A 401 drops the token and says so; the next request has another one, and none is repeated unseen."""
    atlassian = Atlassian()
    atlassian.refused = {"t1"}
    with JiraClient(OAUTH, atlassian) as client:
        found = failure_of(client.myself)
        assert (found.status, found.is_renewed, found.is_of_scope) == (401, True, False)
        assert len(atlassian.urls) == 3
        client.myself()
    assert atlassian.authorizations[-1] == "Bearer t2"


def test_a_question_may_be_asked_again_in_plain_sight() -> None:
    """`renewed_once` asks a second time with the new token, and not a third time."""
    atlassian = Atlassian()
    atlassian.refused = {"t1", "t3", "t4"}
    with JiraClient(OAUTH, atlassian) as client:
        renewed_once(client.myself)
        atlassian.refused.add("t2")
        assert failure_of(lambda: renewed_once(client.myself)).is_renewed
    assert atlassian.tokens == 3


@pytest.mark.parametrize(
    ("account", "refusal"),
    [
        (OAUTH, {"code": 401, "message": "Unauthorized; scope does not match"}),
        (OAUTH, {"errorMessages": ["The token has not the SCOPES for this"]}),
        (SCOPED, {"code": 401, "message": "Unauthorized; scope does not match"}),
    ],
    ids=str,
)
def test_a_missing_scope_is_not_answered_by_a_renewal(account: JiraAccount, refusal: Any) -> None:
    """A 401 that speaks of a scope says so, for a read and for a create, and keeps the token."""
    atlassian = Atlassian()
    atlassian.refused, atlassian.refusal = {"t1", BASIC}, refusal
    with JiraClient(account, atlassian) as client:
        failures = [failure_of(client.myself), client.create({}, "slk-x", 1), failure_of(client.myself)]
    assert {(found.status, found.is_of_scope, found.is_renewed) for found in failures} == {(401, True, False)}
    assert atlassian.tokens <= 1


@pytest.mark.parametrize("account", [CLASSIC, SCOPED, DATA_CENTER], ids=["classic", "scoped", "Data Center"])
def test_a_token_that_stays_is_not_renewed(account: JiraAccount) -> None:
    """A 401 under a token that nothing renews is no promise of another one."""
    atlassian = Atlassian()
    atlassian.refused = {BASIC, "hunter2"}
    with JiraClient(account, atlassian) as client:
        assert not failure_of(client.myself).is_renewed


def test_a_create_waits_for_no_token() -> None:
    """A create or comment has the token that is at hand, due or not; without one nothing is sent."""
    atlassian, clock = Atlassian(), Clock()
    atlassian.life = 100
    with JiraClient(OAUTH, atlassian, clock) as client:
        assert type(client.create({}, "slk-x", 1)) is NotSent
        assert type(failure_of(lambda: client.add_comment("PROJ-1", "x", "p", {}))) is NotSent
        assert atlassian.urls == []
        client.myself()
        clock.now += 99
        assert client.create({}, "slk-x", 1) == Created("10007", "PROJ-7")
        assert (atlassian.tokens, atlassian.authorizations[-1]) == (1, "Bearer t1")
        sent = len(atlassian.urls)
        clock.now += 1
        assert type(client.create({}, "slk-x", 1)) is NotSent
        assert len(atlassian.urls) == sent


def test_a_create_with_a_revoked_token_is_surely_none() -> None:
    """A 401 to a create is told as a refusal that another token may end, and the POST is sent once."""
    atlassian = Atlassian()
    with JiraClient(OAUTH, atlassian) as client:
        client.myself()
        atlassian.refused = {"t1"}
        found = client.create({}, "slk-x", 1)
        assert isinstance(found, AuthProblem)
        assert found.is_renewed
        assert sum(url.endswith("/issue") for url in atlassian.urls) == 1
        assert type(client.create({}, "slk-x", 1)) is NotSent


def test_threads_renew_one_at_a_time() -> None:
    """Threads that need a token at the same moment ask for one together, and after a 401 for one more."""
    atlassian = Atlassian()
    login = choose(OAUTH, atlassian)
    accesses: list[Any] = []
    together = threading.Barrier(8, timeout=20)

    def work(act: Callable[[], object]) -> None:
        together.wait()
        accesses.append(act())

    def all_do(act: Callable[[], object]) -> None:
        threads = [threading.Thread(target=work, args=(act,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_do(login.access)
    assert atlassian.tokens == 1
    first = accesses[0]

    def refused_and_again() -> object:
        assert login.refused(first)
        return login.access()

    all_do(refused_and_again)
    login.close()
    assert atlassian.tokens == 2
    assert {access.authorization for access in accesses} == {b"Bearer t1", b"Bearer t2"}


TOKEN: Final = {"access_token": "abc", "expires_in": 3600}


def answer(status: int, content: Any, headers: dict[str, str] | None = None) -> HttpResponse:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpResponse(status, headers or {}, body)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (answer(200, TOKEN), Grant("abc", 5.0, 3600.0)),
        (answer(200, {**TOKEN, "token_type": "bearer"}), Grant("abc", 5.0, 3600.0)),
        (
            answer(200, {**TOKEN, "expires_in": "60", "scope": "a b a"}),
            Grant("abc", 5.0, 60.0, frozenset("ab")),
        ),
        (answer(200, {**TOKEN, "expires_in": 1e12}), Grant("abc", 5.0, LONGEST_LIFE_SECONDS)),
        (answer(200, {**TOKEN, "token_type": "mac"}), NotSent),
        (answer(200, {**TOKEN, "token_type": 7}), NotSent),
        (answer(200, {**TOKEN, "access_token": "a\r\nX: y"}), NotSent),
        (answer(200, {**TOKEN, "access_token": "ä"}), NotSent),
        (answer(200, {**TOKEN, "access_token": ""}), NotSent),
        (answer(200, {**TOKEN, "access_token": None}), NotSent),
        (answer(200, {"access_token": "abc"}), NotSent),
        (answer(200, {**TOKEN, "expires_in": 0}), NotSent),
        (answer(200, {**TOKEN, "expires_in": -1}), NotSent),
        (answer(200, {**TOKEN, "expires_in": True}), NotSent),
        (answer(200, {**TOKEN, "expires_in": "soon"}), NotSent),
        (answer(200, b'{"access_token": "abc", "expires_in": NaN}'), NotSent),
        (answer(200, b'{"access_token": "abc", "expires_in": 1e999}'), NotSent),
        (answer(200, []), NotSent),
        (answer(200, b"<html>log in</html>"), NotSent),
        (answer(302, b"", {"Location": "https://sso.example"}), NotSent),
        (answer(400, {"error": "invalid_client"}), AuthProblem),
        (answer(401, {"error": "access_denied", "error_description": "scope"}), AuthProblem),
        (answer(403, {"error": "unauthorized_client"}), AuthProblem),
        (answer(403, b"<html>firewall</html>"), NotSent),
        (answer(404, {}), NotSent),
        (answer(429, {}, {"Retry-After": "7"}), Throttled),
        (answer(500, {}), NotSent),
        (answer(503, b""), NotSent),
        (NotSent("no connection"), NotSent),
        (Unknown("no answer"), NotSent),
    ],
)
def test_what_the_token_server_says(found: HttpResponse | NotSent | Unknown, expected: Any) -> None:
    """A token is taken in good form alone; a server that is away is Jira that is away."""
    became = read_grant(found, 5.0, NOW)
    if isinstance(expected, Grant):
        assert became == expected
    else:
        assert type(became) is expected
        assert "abc" not in repr(became)
    if isinstance(became, Throttled):
        assert became.retry_after == 7
    if isinstance(became, AuthProblem):
        # No renewal and no scope: it is a matter of the client.
        assert (became.is_of_scope, became.is_renewed) == (False, False)


@given(st.integers(100, 599), st.binary(max_size=60) | st.just(json.dumps(TOKEN).encode()))
def test_every_answer_of_the_token_server_means_something(status: int, body: bytes) -> None:
    """Any status and body is read, and only a 200 in good form has a token."""
    became = read_grant(answer(status, body), 5.0, NOW)
    assert isinstance(became, Grant) == (status == 200 and body == json.dumps(TOKEN).encode())


def test_a_client_that_is_refused_is_a_matter_for_a_person() -> None:
    """A client that the token server refuses is an `AuthProblem` of each request; no token is shown."""
    atlassian = Atlassian()
    atlassian.token_answer = httpx.Response(401, json={"error": "access_denied"})
    with JiraClient(OAUTH, atlassian) as client:
        found = failure_of(client.myself)
    assert (type(found), found.status) == (AuthProblem, 401)
    assert not any(url.endswith("/myself") for url in atlassian.urls)


def test_the_sender_is_the_account_and_not_the_token() -> None:
    """Classic and scoped tokens of one account are one sender, whatever the token; clients are others."""
    newer = JiraAccount(SITE, " ME@example.com", "another", cloud_id="auto")
    assert sender_of(CLASSIC) == sender_of(SCOPED) == sender_of(newer) == sender_of(WITH_PASSWORD)
    others = (
        CLASSIC,
        OAUTH,
        DATA_CENTER,
        JiraAccount(SITE, "you@example.com", "hunter2"),
        JiraAccount(SITE, None, "", oauth=OAuthClient("client-2", "hunter3")),
        JiraAccount(SITE, None, "another", "datacenter"),
    )
    assert len({sender_of(account) for account in others}) == len(others)
    for account in others:
        name = sender_of(account)
        assert len(name) < 40
        assert not any(word in name for word in ("example", "hunter", "client"))


def test_how_much_longer_a_step_may_take() -> None:
    """A step has time for the questions that its login may need."""
    accounts = (CLASSIC, SCOPED, ASKED, OAUTH, DATA_CENTER)
    assert [questions_of(account) for account in accounts] == [0, 0, 1, 3, 0]


def test_scopes_that_an_oauth_client_has() -> None:
    """The token server's scopes are kept, and missing ones are named; granular ones count as well."""
    atlassian = Atlassian()
    with JiraClient(OAUTH, atlassian) as client:
        client.myself()
        assert client.granted_scopes() == frozenset()
    assert isinstance(choose(OAUTH), ClientCredentials)
    assert missing_scopes(frozenset(NEEDED)) == ()
    assert missing_scopes(frozenset({"read:jira-work", "read:jira-user"})) == ("write:jira-work",)
    granular = {"read:issue:jira", "read:jql:jira", "write:issue:jira", "read:user:jira"}
    assert missing_scopes(frozenset(granular)) == ()
    assert missing_scopes(frozenset(granular - {"read:jql:jira"})) == ("read:jira-work",)

"""Logins of the sandbox Jira: which token opens which door, until when, and for what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sandbox.jira.accounts import SERVICE_ID, Audience
from sandbox.jira.faults import CommitThenDrop, HtmlRefusal, Status, Throttle
from sandbox.jira.logins import CLIENT_ID, CLIENT_SECRET, SCOPED_TOKEN, Credential
from sandbox.jira.replies import Drop, Reply
from sandbox.jira.scopes import READ, USERS, WRITE
from sandbox.jira.site import JiraSite
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import basic, create_body, read, send

SITE = "/rest/api/3"
SITE_REFUSES = {"errorMessages": ["Client must be authenticated to access this resource."], "errors": {}}
GATEWAY_REFUSES = {"code": 401, "message": "Unauthorized"}
NO_SCOPE = {"code": 401, "message": "Unauthorized; scope does not match"}
CREDENTIALS = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def site(clock: VirtualClock) -> JiraSite:
    return JiraSite(clock=clock)


def gateway(site: JiraSite) -> str:
    return f"/ex/jira/{site.cloud_id}/rest/api/3"


def new_token(site: JiraSite, **body: Any) -> tuple[int, Any]:
    return read(send(site, "POST", "/oauth/token", {**CREDENTIALS, **body}, at_gateway=True))


def bearer(site: JiraSite) -> str:
    return f"Bearer {new_token(site)[1]['access_token']}"


def headers_of(site: JiraSite) -> dict[str, str]:
    """Return the header of each login."""
    return {
        "classic": basic(site.email, site.token),
        "access token": f"Bearer {site.token}",
        "scoped": basic(site.email, SCOPED_TOKEN),
        "oauth": bearer(site),
        "none": "",
    }


@pytest.mark.parametrize("login", ["classic", "access token", "scoped", "oauth", "none"])
@pytest.mark.parametrize("scoped_only", [False, True])
def test_which_login_opens_which_door(login: str, scoped_only: bool, site: JiraSite) -> None:
    """Tokens of the site are refused at the gateway and the other way round; scoped_only closes the site."""
    header = headers_of(site)[login]
    site.logins.scoped_only = scoped_only
    at_the_site = read(send(site, "GET", f"{SITE}/myself", authorization=header))
    at_the_gateway = read(send(site, "GET", f"{gateway(site)}/myself", authorization=header))
    if login in ("classic", "access token") and not scoped_only:
        assert at_the_site[0] == 200
    else:
        assert at_the_site == (401, SITE_REFUSES)
    if login in ("scoped", "oauth"):
        assert at_the_gateway[0] == 200
    else:
        assert at_the_gateway == (401, GATEWAY_REFUSES)


def test_the_switch_in_the_middle(site: JiraSite) -> None:
    """From the third ticket on the site takes no token, and the gateway shows the tickets of before."""
    site.scoped_after = 2
    classic, scoped = basic(site.email, site.token), basic(site.email, SCOPED_TOKEN)
    statuses = [read(send(site, "POST", f"{SITE}/issue", create_body(), classic))[0] for _ in range(3)]
    assert statuses == [201, 201, 401]
    assert read(send(site, "POST", f"{gateway(site)}/issue", create_body(), scoped))[0] == 201
    for key in ("PROJ-1", "PROJ-3"):
        status, said = read(send(site, "GET", f"{gateway(site)}/issue/{key}", None, scoped))
        assert (status, said["key"]) == (200, key)


def test_the_gateway_serves_one_cloud_id_and_nothing_else(site: JiraSite) -> None:
    """The gateway answers 404 for another cloud id, for API version 2 and for paths of the site."""
    scoped = basic(site.email, SCOPED_TOKEN)
    for path in (
        "/ex/jira/another/rest/api/3/myself",
        f"/ex/jira/{site.cloud_id}/rest/api/2/myself",
        "/rest/api/3/myself",
        "/_edge/tenant_info",
    ):
        assert read(send(site, "GET", path, None, scoped, at_gateway=True)) == (
            404,
            {"code": 404, "message": "Not Found"},
        )


def test_the_site_serves_nothing_of_the_gateway(site: JiraSite) -> None:
    """A client that sends to the site what belongs to the gateway or the token server is found out."""
    scoped = basic(site.email, SCOPED_TOKEN)
    dead = (404, {"errorMessages": ["Dead link"], "errors": {}})
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, scoped, at_gateway=False)) == dead
    assert read(send(site, "POST", "/oauth/token", CREDENTIALS, at_gateway=False)) == dead


def test_the_site_tells_its_cloud_id_to_anyone(site: JiraSite) -> None:
    """The cloud id is told without a login, also while the site takes no token."""
    site.logins.scoped_only = True
    assert read(send(site, "GET", "/_edge/tenant_info")) == (200, {"cloudId": site.cloud_id})
    assert read(send(site, "POST", "/_edge/tenant_info"))[0] == 405


def test_links_lead_where_the_request_went_and_to_the_site(site: JiraSite) -> None:
    """Through the gateway ``self`` is at the gateway, and the base URL is still that of the site."""
    site.url = "https://jira.example"
    scoped = basic(site.email, SCOPED_TOKEN)
    made = read(send(site, "POST", f"{gateway(site)}/issue", create_body(), scoped))[1]
    assert made["self"] == f"http://127.0.0.1{gateway(site)}/issue/10000"
    told = read(send(site, "GET", f"{gateway(site)}/serverInfo", None, scoped))[1]
    assert told["baseUrl"] == "https://jira.example"


def test_a_token_for_client_credentials(site: JiraSite) -> None:
    """The token server issues another token at each request, with its life and its scopes."""
    site.logins.token_seconds = 30
    (status, first), (_, second) = new_token(site), new_token(site)
    assert status == 200
    assert first["access_token"] != second["access_token"]
    assert (first["expires_in"], first["token_type"]) == (30, "Bearer")
    assert first["scope"].split() == sorted((READ, USERS, WRITE))
    assert [call.endpoint for call in site.calls] == ["token", "token"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"client_id": "nobody"}, 401, "access_denied"),
        ({"client_secret": None}, 401, "access_denied"),
        ({"grant_type": "password"}, 403, "unsupported_grant_type"),
    ],
)
def test_no_token_for_wrong_credentials(
    body: dict[str, Any], status: int, error: str, site: JiraSite
) -> None:
    """Wrong credentials get OAuth's form of an error, which is not Jira's."""
    given, said = new_token(site, **body)
    assert (given, said["error"]) == (status, error)
    assert "errorMessages" not in said


def test_the_token_server_wants_json(site: JiraSite) -> None:
    """A body that is no JSON object gets 400."""
    assert read(send(site, "POST", "/oauth/token", ["client_credentials"]))[0] == 400
    assert read(send(site, "POST", "/oauth/token"))[0] == 403


def test_a_token_ends_by_the_clock_of_the_site(site: JiraSite, clock: VirtualClock) -> None:
    """An OAuth token is good until its life is over, and then a new one is."""
    site.logins.token_seconds = 30
    header = bearer(site)
    clock.advance(29)
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, header))[0] == 200
    clock.advance(1)
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, header)) == (401, GATEWAY_REFUSES)
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, bearer(site)))[0] == 200


def test_tokens_are_revoked(site: JiraSite) -> None:
    """A revoked token is refused at once; the others are not."""
    header, scoped = bearer(site), basic(site.email, SCOPED_TOKEN)
    site.logins.revoke_access_tokens()
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, header))[0] == 401
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, scoped))[0] == 200
    site.logins.revoke(SCOPED_TOKEN)
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, scoped))[0] == 401
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, bearer(site)))[0] == 200


def test_a_token_may_be_revoked_just_before_a_call(site: JiraSite) -> None:
    """A plan of faults that revokes tokens at a call lets that call be refused."""

    def plan(endpoint: str, body: Any) -> None:
        if endpoint == "search":
            site.plan = None
            site.logins.revoke_access_tokens()

    site.plan = plan
    header, path = bearer(site), f"{gateway(site)}/search/jql"
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, header))[0] == 200
    search = {"jql": 'labels = "x"'}
    assert read(send(site, "POST", path, search, header)) == (401, GATEWAY_REFUSES)
    assert read(send(site, "POST", path, search, bearer(site)))[0] == 200


@pytest.mark.parametrize("creator", ["classic", "scoped", "oauth"])
@pytest.mark.parametrize("reader", ["classic", "scoped", "oauth"])
def test_what_one_login_makes_another_finds(creator: str, reader: str, site: JiraSite) -> None:
    """A ticket that was made under one login of Cloud is found under each, unless Jira hides it."""
    headers, doors = headers_of(site), {"classic": SITE, "scoped": gateway(site), "oauth": gateway(site)}
    read(send(site, "POST", f"{doors[creator]}/issue", create_body(), headers[creator]))
    search = {"jql": 'labels = "slk-abc"'}

    def found() -> int:
        said = read(send(site, "POST", f"{doors[reader]}/search/jql", search, headers[reader]))[1]
        return len(said["issues"])

    assert found() == 1
    site.configure("PROJ", browse=Audience(everyone=False, reporter=True))
    assert found() == ((creator == "oauth") is (reader == "oauth"))


def test_a_token_of_the_site_ends_when_told(site: JiraSite, clock: VirtualClock) -> None:
    """A classic token and an access token end at the moment that is set for them."""
    site.logins.expire(site.token, clock() + 60)
    headers = [headers_of(site)[login] for login in ("classic", "access token")]
    assert {read(send(site, "GET", f"{SITE}/myself", None, header))[0] for header in headers} == {200}
    clock.advance(60)
    assert {read(send(site, "GET", f"{SITE}/myself", None, header))[0] for header in headers} == {401}


def test_a_missing_scope_is_told_for_each_endpoint(site: JiraSite) -> None:
    """Without the scope for writing the account still reads and is known, and a create makes nothing."""
    site.logins.put(Credential("scoped", "reader", site.bot.id, site.email, frozenset((READ, USERS))))
    header, base = basic(site.email, "reader"), gateway(site)
    assert read(send(site, "POST", f"{base}/issue", create_body(), header)) == (401, NO_SCOPE)
    assert site.issues == ()
    search = {"jql": 'labels = "x"'}
    assert read(send(site, "POST", f"{base}/search/jql", search, header))[0] == 200
    assert read(send(site, "GET", f"{base}/myself", None, header))[0] == 200


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        ((READ, WRITE, USERS), [200, 200, 200, 200, 200, 200]),
        ((WRITE, USERS), [200, 401, 401, 200, 200, 200]),
        ((READ, WRITE), [401, 200, 200, 200, 401, 401]),
        ((), [401, 401, 401, 200, 401, 401]),
    ],
)
def test_scopes(scopes: tuple[str, ...], statuses: list[int], site: JiraSite) -> None:
    """Each scope opens its endpoints; what kind of Jira it is needs none."""
    site.logins.put(Credential("scoped", "some", site.bot.id, site.email, frozenset(scopes)))
    paths = ("myself", "priority", "project/search", "serverInfo", "user/search", "groups/picker")
    header = basic(site.email, "some")
    asked = [
        read(send(site, "GET", f"{gateway(site)}/{path}", None, header, {"query": "ada"}))[0]
        for path in paths
    ]
    assert asked == statuses


def test_an_endpoint_may_be_denied_alone(site: JiraSite) -> None:
    """An action in ``denied`` is answered as for a missing scope, at the gateway only."""
    site.logins.denied = {"comment.add"}
    scoped, classic = basic(site.email, SCOPED_TOKEN), basic(site.email, site.token)
    send(site, "POST", f"{SITE}/issue", create_body(), classic)
    path, comment = "issue/PROJ-1/comment", {"body": create_body()["fields"]["description"]}
    assert read(send(site, "POST", f"{gateway(site)}/{path}", comment, scoped)) == (401, NO_SCOPE)
    assert read(send(site, "GET", f"{gateway(site)}/{path}", None, scoped))[0] == 200
    assert read(send(site, "POST", f"{SITE}/{path}", comment, classic))[0] == 201


def test_who_the_login_is(site: JiraSite) -> None:
    """Each login is its account: tokens of the bot, and the OAuth client of the service account."""
    found = read(send(site, "GET", f"{gateway(site)}/myself", None, bearer(site)))[1]
    assert (found["accountId"], found["accountType"]) == (SERVICE_ID, "app")
    scoped = basic(site.email, SCOPED_TOKEN)
    found = read(send(site, "GET", f"{gateway(site)}/myself", None, scoped))[1]
    assert (found["accountId"], found["emailAddress"]) == (site.bot.id, site.email)
    site.accounts.put(replace(site.bot, active=False))
    assert read(send(site, "GET", f"{gateway(site)}/myself", None, scoped))[0] == 401


def test_a_new_address_of_the_bot(site: JiraSite) -> None:
    """A new address holds for both tokens of the bot at once."""
    site.email = "robot@example.com"
    assert read(send(site, "GET", f"{SITE}/myself", None, basic("robot@example.com", site.token)))[0] == 200
    assert read(send(site, "GET", f"{SITE}/myself", None, basic("bot@example.com", site.token)))[0] == 401
    scoped = basic("robot@example.com", SCOPED_TOKEN)
    told = read(send(site, "GET", f"{gateway(site)}/myself", None, scoped))[1]
    assert told["emailAddress"] == "robot@example.com"


def test_a_data_center_below_a_context_path(clock: VirtualClock) -> None:
    """With a context path the API is below it, its links too, and nothing is beside it."""
    site = JiraSite(clock=clock, context_path="/jira")
    header = f"Bearer {site.token}"
    found = read(send(site, "GET", "/jira/rest/api/2/myself", None, header))[1]
    assert found["self"].startswith("http://127.0.0.1/jira/rest/api/2/user")
    assert read(send(site, "GET", "/rest/api/2/myself", None, header))[0] == 404


def test_the_token_server_and_the_edge_have_faults_too(site: JiraSite) -> None:
    """Faults work on the token server and on the edge by the same mechanism."""
    site.fail("token", Status(502), HtmlRefusal(), Throttle(2), CommitThenDrop())
    replies = [send(site, "POST", "/oauth/token", CREDENTIALS) for _ in range(4)]
    assert [reply.status for reply in replies if isinstance(reply, Reply)] == [502, 403, 429]
    assert replies[3] == Drop()
    site.fail("tenant", Status(503))
    assert read(send(site, "GET", "/_edge/tenant_info"))[0] == 503
    assert new_token(site)[0] == 200

"""Settings of Jira's logins: which login they name, and each mistake with the sentence that helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from threadsync.config import load_settings
from threadsync.errors import InvalidSettings
from threadsync.jira_login import AUTO, NAMES, Kind, LoginSettings, faults_of, missing_secrets, read_cloud_id

CLOUD_ID: Final = "11223344-a1b2-4b33-c444-def123456789"
SITE: Final = {"JIRA_URL": "https://example.atlassian.net"}
TOKEN: Final = {"JIRA_EMAIL": "bot@example.com", "JIRA_API_TOKEN": "topsecret-token"}
OAUTH: Final = {"JIRA_OAUTH_CLIENT_ID": "client", "JIRA_OAUTH_CLIENT_SECRET": "topsecret-client"}
DATA_CENTER: Final = {"JIRA_DEPLOYMENT": "datacenter"}

WHOLE: Final[dict[str, tuple[Mapping[str, str], Kind | None]]] = {
    "no Jira": ({}, None),
    "only the site, as the web process has it": (SITE, None),
    "classic": ({**SITE, **TOKEN}, "classic"),
    "scoped": ({**SITE, **TOKEN, "JIRA_CLOUD_ID": CLOUD_ID}, "scoped"),
    "scoped, asked": ({**SITE, **TOKEN, "JIRA_CLOUD_ID": "Auto"}, "scoped"),
    "OAuth": ({**SITE, **OAUTH}, "oauth"),
    "OAuth with an id": ({**SITE, **OAUTH, "JIRA_CLOUD_ID": CLOUD_ID}, "oauth"),
    "Data Center": ({**SITE, **DATA_CENTER, "JIRA_API_TOKEN": "t"}, "datacenter"),
    "Data Center with Basic": ({**SITE, **DATA_CENTER, **TOKEN}, "datacenter"),
    "a context path": (
        {"JIRA_URL": "https://jira.example.com/jira", **DATA_CENTER, "JIRA_API_TOKEN": "t"},
        "datacenter",
    ),
    "a token without a site": ({"JIRA_API_TOKEN": "t"}, "classic"),
    "addresses of this machine": (
        {
            "JIRA_URL": "http://127.0.0.1:8080",
            "JIRA_API_GATEWAY": "http://localhost:8081",
            "JIRA_OAUTH_TOKEN_URL": "http://[::1]:8082/oauth/token",
            **OAUTH,
        },
        "oauth",
    ),
}

FAULTS: Final[dict[str, tuple[Mapping[str, str], str, str]]] = {
    "the gateway's path": (
        {"JIRA_URL": f"https://api.atlassian.com/ex/jira/{CLOUD_ID}", **TOKEN},
        "JIRA_URL",
        f"set JIRA_CLOUD_ID={CLOUD_ID}",
    ),
    "the gateway's path behind a proxy": (
        {"JIRA_URL": "https://proxy.example/EX/Jira/x/rest", **TOKEN},
        "JIRA_URL",
        "set JIRA_CLOUD_ID=auto",
    ),
    "the gateway's host": (
        {"JIRA_URL": "https://API.atlassian.com:443", **TOKEN},
        "JIRA_URL",
        "that people click",
    ),
    "the host of another gateway": (
        {"JIRA_URL": "https://gw.example:8443", "JIRA_API_GATEWAY": "https://gw.example:8443", **TOKEN},
        "JIRA_URL",
        "that people click",
    ),
    "http for the site": ({"JIRA_URL": "http://jira.example", **TOKEN}, "JIRA_URL", "JIRA_ALLOW_HTTP=true"),
    "http for the gateway": (
        {**SITE, **TOKEN, "JIRA_API_GATEWAY": "http://gw.example"},
        "JIRA_API_GATEWAY",
        "JIRA_ALLOW_HTTP=true",
    ),
    "http for the token server": (
        {**SITE, **OAUTH, "JIRA_OAUTH_TOKEN_URL": "HTTP://auth.example/token"},
        "JIRA_OAUTH_TOKEN_URL",
        "the client secret",
    ),
    "no address": ({**SITE, "JIRA_API_GATEWAY": "api.atlassian.com"}, "JIRA_API_GATEWAY", "must be a URL"),
    "credentials in an address": (
        {**SITE, "JIRA_OAUTH_TOKEN_URL": "https://me:topsecret@auth.example"},
        "JIRA_OAUTH_TOKEN_URL",
        "an address alone",
    ),
    "no cloud id": ({**SITE, **TOKEN, "JIRA_CLOUD_ID": "example"}, "JIRA_CLOUD_ID", "/_edge/tenant_info"),
    "two logins": ({**SITE, **TOKEN, **OAUTH}, "JIRA_OAUTH_CLIENT_ID", "two logins"),
    "two logins, as a process without secrets sees them": (
        {**SITE, "JIRA_EMAIL": "bot@example.com", "JIRA_OAUTH_CLIENT_ID": "client"},
        "JIRA_OAUTH_CLIENT_ID",
        "take out",
    ),
    "a secret without its client": (
        {**SITE, "JIRA_OAUTH_CLIENT_SECRET": "topsecret"},
        "JIRA_OAUTH_CLIENT_ID",
        "set both",
    ),
    "Cloud without an e-mail": (
        {**SITE, "JIRA_API_TOKEN": "topsecret"},
        "JIRA_EMAIL",
        "JIRA_OAUTH_CLIENT_ID",
    ),
    "a cloud id alone": ({**SITE, "JIRA_CLOUD_ID": CLOUD_ID}, "JIRA_CLOUD_ID", "without a login"),
    "OAuth at a Data Center": ({**SITE, **DATA_CENTER, **OAUTH}, "JIRA_OAUTH_CLIENT_ID", "of Jira Cloud"),
    "a cloud id at a Data Center": (
        {**SITE, **DATA_CENTER, **TOKEN, "JIRA_CLOUD_ID": AUTO},
        "JIRA_CLOUD_ID",
        "take it out",
    ),
    "no date": ({**SITE, "JIRA_TOKEN_EXPIRES": "soon"}, "JIRA_TOKEN_EXPIRES", "date"),
}


def set_all(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def refusal(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> list[str]:
    """Return the lines of the report on the settings."""
    set_all(monkeypatch, values)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize("case", WHOLE)
def test_the_settings_name_a_login(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are accepted, and name this login."""
    values, kind = WHOLE[case]
    set_all(monkeypatch, values)
    settings = load_settings()
    assert settings.jira_login.kind == kind
    settings.require_jira_login()
    assert kind is None or NAMES[kind]


@pytest.mark.parametrize("case", FAULTS)
def test_a_mistake_is_refused_with_what_to_do(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake is refused at the start, by the setting's name, with what to do and without a secret."""
    values, name, words = FAULTS[case]
    [line] = refusal(monkeypatch, values)
    assert line.startswith(f"{name}: ")
    assert words in line
    assert "topsecret" not in line


def test_http_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """JIRA_ALLOW_HTTP allows plain http for site, gateway and token server."""
    addresses = dict.fromkeys(("JIRA_URL", "JIRA_OAUTH_TOKEN_URL"), "http://a.example")
    set_all(
        monkeypatch, {**addresses, **OAUTH, "JIRA_API_GATEWAY": "http://b.example", "JIRA_ALLOW_HTTP": "true"}
    )
    assert load_settings().jira_api_gateway == "http://b.example"


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All mistakes of the login are reported at once, and beside those of other settings."""
    values = {
        "JIRA_URL": f"http://gw.example/ex/jira/{CLOUD_ID}",
        "JIRA_API_GATEWAY": "http://gw.example",
        "JIRA_DEPLOYMENT": "datacenter",
        "JIRA_TOKEN_EXPIRES": "never",
        "MAX_DELIVERIES": "none",
        **TOKEN,
        **OAUTH,
    }
    lines = refusal(monkeypatch, values)
    assert sorted(line.partition(":")[0] for line in lines) == [
        "JIRA_API_GATEWAY",
        "JIRA_OAUTH_CLIENT_ID",
        "JIRA_OAUTH_CLIENT_ID",
        "JIRA_TOKEN_EXPIRES",
        "JIRA_URL",
        "JIRA_URL",
        "MAX_DELIVERIES",
    ]
    assert not any("topsecret" in line for line in lines)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**SITE, "JIRA_EMAIL": "bot@example.com"}, "JIRA_API_TOKEN: is not set"),
        ({**SITE, "JIRA_OAUTH_CLIENT_ID": "client"}, "JIRA_OAUTH_CLIENT_SECRET: is not set"),
    ],
)
def test_half_a_login_is_a_matter_of_who_calls_jira(
    values: Mapping[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may lack the login's secret, unless it is one that calls Jira."""
    set_all(monkeypatch, values)
    settings = load_settings()
    with pytest.raises(InvalidSettings, match=words):
        settings.require_jira_login()


def test_the_secret_of_a_client_may_be_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The client's secret is read from a file, too; an empty file is no secret."""
    file = tmp_path_factory.mktemp("secrets") / "client"
    file.write_text("hunter2\n")
    set_all(monkeypatch, {**SITE, "JIRA_OAUTH_CLIENT_ID": "c", "JIRA_OAUTH_CLIENT_SECRET_FILE": str(file)})
    secret = load_settings().jira_oauth_client_secret
    assert secret
    assert secret.get_secret_value() == "hunter2"
    file.write_text("\n")
    assert load_settings().jira_oauth_client_secret is None


def test_without_a_site_there_is_no_login_to_judge() -> None:
    """Without JIRA_URL no tickets are made, so that half a login is no mistake."""
    assert faults_of(LoginSettings(api_token=True)) == ()
    assert missing_secrets(LoginSettings(client_id=True)) == ()


def test_a_cloud_id_has_one_spelling() -> None:
    """A site's id is compared in one spelling."""
    assert read_cloud_id(f" {{{CLOUD_ID.upper()}}} ") == CLOUD_ID
    assert read_cloud_id(" AUTO") == AUTO

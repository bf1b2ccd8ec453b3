"""Reading a thread from Slack: where the token may go, pages, names, files, and what must be waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.support.thread_servers import API_URL, FILES_URL, SIGN_IN, TOKEN, ThreadSlack, said
from worker.status_message.web_api import WebApi
from worker.thread.files import SlackFile, read_file
from worker.thread.hosts import is_permalink, may_have_token, origin_of
from worker.thread.kept import KEPT_SECONDS
from worker.thread.lookup import Names
from worker.thread.slack import READ_SECONDS, Access, SlackReader, SlackRefuses, SlackWaits

SLACK = "https://slack.com/api/"
UNTIL = "1900000000.000000"


class Clock:
    """Seconds that only the test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slack() -> ThreadSlack:
    return ThreadSlack([said("1.1", "U1", "first")], names={"U1": "Ann"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(slack: ThreadSlack, clock: Clock) -> Iterator[SlackReader]:
    api = WebApi(TOKEN, API_URL, transport=slack)
    yield SlackReader(api, Access(TOKEN, API_URL, slack), clock)
    api.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://files.slack.com/files-pri/T1-F1/download/a%20b.pdf?x=1",
        "https://slack.com/x",
        "https://acme.enterprise.slack.com/files/x",
        "https://files.slack.com:443/x",
        "HTTPS://FILES.SLACK.COM/x",
    ],
)
def test_slacks_own_hosts_get_the_token(url: str) -> None:
    """The hosts of slack.com get the token over https."""
    assert may_have_token(url, SLACK)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://files.slack.com/x",
        "https://files.slack.com",
        "https://files.slack.com.evil.example/x",
        "https://evilslack.com/x",
        "https://slack.com@evil.example/x",
        "https://evil.example/slack.com/x",
        "https://evil.example\\.slack.com/x",
        "https://files.slack.com\\@evil.example/x",
        "https://files.slack.com:8443/x",
        "https://user:pw@files.slack.com/x",
        "https://files.slack.com/x y",
        "https://files.slack.com/x\n",
        "https://files.slack.com/é",
        "https://files.slack.com/" + "x" * 2_000,
        "//files.slack.com/x",
        "file:///etc/passwd",
        "https://drive.google.com/x",
        "https://\u017flack.com/x",
    ],
)
def test_no_other_host_gets_the_token(url: str) -> None:
    """Other hosts, plain http, and addresses that two programs could read differently get no token."""
    assert not may_have_token(url, SLACK)


def test_the_host_of_the_api_gets_the_token() -> None:
    """The host of SLACK_API_URL gets the token over https, and over http on this machine alone."""
    assert may_have_token("http://127.0.0.1:9/files/x", API_URL)
    assert not may_have_token("http://127.0.0.1:90/files/x", API_URL)
    assert not may_have_token("http://127.0.0.1:9@evil.example/x", API_URL)
    assert not may_have_token("http://proxy.example/x", "http://proxy.example/api/")
    assert may_have_token("https://proxy.example/x", "https://proxy.example/api/")
    assert origin_of("https://user@proxy.example/") is None


def test_a_permalink_is_an_address_of_the_web() -> None:
    """What Slack names as the permalink is used if it is an address over https, or of the API's host."""
    assert is_permalink("https://acme.slack.com/archives/C1/p1?thread_ts=1.1&cid=C1", SLACK)
    assert is_permalink("http://127.0.0.1:9/archives/C1/p1", API_URL)
    for url in (None, 7, "", "javascript:alert(1)", "http://acme.slack.com/x", "https://a.b/x y"):
        assert not is_permalink(url, SLACK)


def test_a_thread_is_read_page_after_page(slack: ThreadSlack, reader: SlackReader) -> None:
    """All pages are read, and our own messages are left out; the first message comes on each page."""
    slack.page = 3
    slack.messages += [said(f"{number}.1", "U2", f"reply {number}") for number in range(2, 9)]
    slack.messages.insert(4, said("5.0", "U0BOT", "ours"))
    texts = {message.text for message in reader.messages("C1", "1.1", UNTIL)}
    assert texts == {"first", *(f"reply {number}" for number in range(2, 9))}
    assert slack.calls.count("conversations.replies") == 4


def test_what_came_later_is_not_read(slack: ThreadSlack, reader: SlackReader) -> None:
    """Reading stops at the first page that has only messages from after the request."""
    slack.page = 3
    slack.messages += [said(f"{number}.1", "U2", "x") for number in range(2, 30)]
    reader.messages("C1", "1.1", "4.5")
    assert slack.calls.count("conversations.replies") == 3


def test_reading_ends_after_twenty_seconds(slack: ThreadSlack, reader: SlackReader, clock: Clock) -> None:
    """After 20 seconds of reading Slack is not asked again; they begin with the first question."""
    clock.now = 100.0
    reader.permalink("C1", "1.1")
    clock.now += READ_SECONDS
    with pytest.raises(SlackWaits):
        reader.permalink("C1", "1.1")
    assert slack.calls == ["chat.getPermalink"]


def test_slack_that_asks_to_wait_is_waited_for(slack: ThreadSlack, reader: SlackReader) -> None:
    """A 429 says for how long, a Slack that is away does not, and a refusal has its name."""
    slack.busy = 1
    with pytest.raises(SlackWaits) as caught:
        reader.permalink("C1", "1.1")
    assert caught.value.seconds == 40
    slack.away = 1
    with pytest.raises(SlackWaits) as caught:
        reader.permalink("C1", "1.1")
    assert caught.value.seconds is None
    slack.missing = {"files:read"}
    with pytest.raises(SlackRefuses) as refused:
        reader.file("F1")
    assert (refused.value.error, refused.value.is_of_installation) == ("missing_scope", True)


def test_names_are_kept_for_a_while(slack: ThreadSlack, reader: SlackReader, clock: Clock) -> None:
    """A name is asked for once in some minutes, also when there is none."""
    names = Names(clock)
    assert names.of(["U1", "U1", "U9", "B1"], reader) == {"U1": "Ann"}
    assert names.of(["U1", "U9"], reader) == {"U1": "Ann"}
    assert slack.calls.count("users.info") == 2
    clock.now = KEPT_SECONDS + 1
    slack.names = {"U1": "Anna"}
    with closing(WebApi(TOKEN, API_URL, transport=slack)) as api:
        fresh = SlackReader(api, Access(TOKEN, API_URL, slack), clock)
        assert names.of(["U1"], fresh) == {"U1": "Anna"}
        assert not names.lacks_users_read
        slack.missing = {"users:read"}
        assert names.of(["U7"], fresh) == {}
        assert names.lacks_users_read


def described(**change: Any) -> SlackFile:
    raw = {"id": "F1", "name": "a.pdf", "mimetype": "application/pdf", "size": 4}
    file = read_file({**raw, "url_private": f"{FILES_URL}F1", **change})
    assert file is not None
    return file


@pytest.mark.parametrize(
    ("content", "kind", "change", "expected"),
    [
        (b"%PDF", "application/pdf", {}, b"%PDF"),
        (b"", "application/pdf", {"size": 0}, b""),
        (b"%PD", "application/pdf", {}, "incomplete"),
        (SIGN_IN, "text/html", {}, "sign_in"),
        (b"%PDF", "application/pdf", {"url_private": "https://evil.example/F1"}, "external"),
        (b"x" * 10_000_001, "application/pdf", {"size": None}, "too_big"),
        (b"x" * 10_000_001, "application/pdf", {}, "incomplete"),
    ],
)
def test_a_download_is_the_file_or_says_why_not(
    slack: ThreadSlack,
    reader: SlackReader,
    content: bytes,
    kind: str,
    change: dict[str, Any],
    expected: bytes | str,
) -> None:
    """A download is the whole file, or the reason why it is none."""
    slack.files["F1"] = ({}, content, kind)
    assert reader.download(described(**change)) == expected
    assert ("F1" in slack.calls) == (expected != "external")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(302, "sign_in"), (401, "sign_in"), (403, "sign_in"), (404, "gone"), (418, "no_access")],
)
def test_other_answers_are_no_files(clock: Clock, status: int, expected: str) -> None:
    """A redirect is not followed, and an error is no file."""
    answer = httpx.Response(status, headers={"Location": "https://evil.example/"}, content=b"%PDF")
    access = Access(TOKEN, API_URL, httpx.MockTransport(lambda _: answer))
    reader = SlackReader(WebApi(TOKEN, API_URL), access, clock)
    assert reader.download(described()) == expected


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_download_may_have_to_wait(clock: Clock, status: int) -> None:
    """An overloaded Slack is no reason to leave a file out."""
    access = Access(TOKEN, API_URL, httpx.MockTransport(lambda _: httpx.Response(status)))
    with pytest.raises(SlackWaits):
        SlackReader(WebApi(TOKEN, API_URL), access, clock).download(described())

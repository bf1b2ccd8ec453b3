"""The marker of a thread's ticket, and the name of a site."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadsync.marker import marker_of, site_of, url_of


def test_the_marker_never_changes() -> None:
    """The marker never changes: another one for the same thread would be another ticket."""
    assert marker_of("x.atlassian.net", "C0123", "1700000000.000100") == "slk-s5ehnpvsioha5pvpsoeb3xjygu"
    digest = hashlib.sha256(b"x.atlassian.net|C0123|1700000000.000100").digest()
    expected = "slk-" + base64.b32encode(digest).decode()[:26].lower()
    assert marker_of("x.atlassian.net", "C0123", "1700000000.000100") == expected


@given(site=st.text(), channel=st.text(), thread=st.text())
def test_a_marker_is_a_label(site: str, channel: str, thread: str) -> None:
    """A marker is a label without spaces or signs that JQL would read otherwise."""
    assert re.fullmatch(r"slk-[a-z2-7]{26}", marker_of(site, channel, thread))


def test_site_channel_and_thread_make_the_marker() -> None:
    """Another site, channel or thread gives another marker."""
    markers = {
        marker_of("a", "C1", "1.1"),
        marker_of("b", "C1", "1.1"),
        marker_of("a", "C2", "1.1"),
        marker_of("a", "C1", "1.2"),
    }
    assert len(markers) == 4


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://x.atlassian.net", "x.atlassian.net"),
        ("https://X.Atlassian.NET/", "x.atlassian.net"),
        ("http://x.atlassian.net:80//", "x.atlassian.net"),
        ("HTTPS://x.atlassian.net:443", "x.atlassian.net"),
        (" x.atlassian.net ", "x.atlassian.net"),
        ("https://me:secret@x.atlassian.net/?a=b#c", "x.atlassian.net"),
        ("https://example.com:8443/jira/", "example.com:8443/jira"),
        ("https://example.com/Jira", "example.com/Jira"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080/jira", "[::1]:8080/jira"),
        ("https://Example.com:443//jira//", "example.com/jira"),
        ("https://example.com./jira", "example.com/jira"),
        ("https://jira.bücher.example", "jira.xn--bcher-kva.example"),
        ("https://JIRA.BÜCHER.example/", "jira.xn--bcher-kva.example"),
        ("https://jira.xn--bcher-kva.example", "jira.xn--bcher-kva.example"),
        ("https://straße.example", "xn--strae-oqa.example"),
    ],
)
def test_a_site_has_one_name(url: str, site: str) -> None:
    """A site has one name for all spellings of its URL; other ports and paths are other sites."""
    assert site_of(url) == site


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "",
        "https://a b.example",
        "https://x:99999",
        "https://[::1",
        "https://-",
        "https://\u2603.ex\u0000",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """A malformed URL is refused by a ``ValueError``, which the settings report."""
    with pytest.raises(ValueError):
        site_of(url)


@pytest.mark.parametrize(
    ("site", "jira_url", "expected"),
    [
        ("x.example", "https://x.example", "https://x.example"),
        (None, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("old.example/jira", "https://x.example", "https://old.example/jira"),
        ("old.example", None, ""),
    ],
)
def test_a_ticket_is_looked_at_where_it_was_made(
    site: str | None, jira_url: str | None, expected: str
) -> None:
    """A ticket is looked at on the site where it was made, also after the settings name another."""
    assert url_of(site, jira_url) == expected


def test_requests_go_to_the_host_that_the_site_names() -> None:
    """A site's host is the one in DNS that httpx asks for."""
    for host in ("jira.bücher.example", "straße.example", "ジラ.example", "Jira.Example"):
        assert httpx.URL(f"https://{host}").raw_host.decode() == site_of(f"https://{host}")

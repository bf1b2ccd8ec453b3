"""The ticket that a person names."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.named_key import OtherSite, named_key

JIRA = "https://Example.atlassian.net/"
SITE = "https://example.atlassian.net"


@pytest.mark.parametrize(
    "text",
    [
        "ABC-1",
        " abc-1 ",
        f"{SITE}/browse/ABC-1",
        f"{SITE}/browse/abc-1/",
        f"{SITE}:443/browse/ABC-1",
        "HTTPS://EXAMPLE.atlassian.net/browse/ABC-1?focusedCommentId=10010&page=1#comment-10010",
        f"<{SITE}/browse/ABC-1>",
        f"<{SITE}/browse/ABC-1|ABC-1>",
        f"<{SITE}/browse/ABC-1?a=1&amp;b=2|Something to do>",
        f"{SITE}/jira/software/projects/ABC/boards/1?selectedIssue=ABC-1",
        f"{SITE}/jira/software/c/projects/XY/issues/ABC-1",
        f"{SITE}/jira/servicedesk/projects/ABC/queues/custom/3/ABC-1",
        f"{SITE}/browse/XY-7?selectedIssue=ABC-1",
        "example.atlassian.net/browse/ABC-1",
        *("`ABC-1`", "*ABC-1*", "ABC-1.", "“ABC-1”", "[ABC-1]"),
        *(f"({SITE}/browse/ABC-1).", f"`{SITE}/browse/ABC-1`", f"*<{SITE}/browse/ABC-1|ABC-1>*,"),
    ],
)
def test_a_key_or_an_address_of_a_ticket(text: str) -> None:
    """A ticket is named by its key or by its address, as in a browser or as Slack writes it."""
    assert named_key(text, JIRA) == named_key(text) == "ABC-1"


@pytest.mark.parametrize(
    "text",
    [
        *("", "ABC", "ABC-0", "ABC-1 ABC-2", "abc-1\u0660", "\ufb01x-1", "<|>"),
        *(f"{SITE}/browse/", f"{SITE}/browse/ABC", f"{SITE}:99999/browse/ABC-1"),
        *("ftp://example.atlassian.net/browse/ABC-1", "https:///browse/ABC-1", "https://[x/browse/ABC-1"),
    ],
)
def test_what_names_no_ticket(text: str) -> None:
    """A text that names no ticket gives None."""
    assert named_key(text, JIRA) is None


@pytest.mark.parametrize(
    "url", ["https://other.atlassian.net/browse/ABC-1", "https://example.atlassian.net:8443/browse/ABC-1"]
)
def test_a_ticket_of_another_jira(url: str) -> None:
    """An address of another Jira is refused; where ours is unknown, any address is accepted."""
    with pytest.raises(OtherSite):
        named_key(url, JIRA)
    assert named_key(url) == "ABC-1"


@given(st.text() | st.text(alphabet="<>|:/?#[]@htps.ABC-1&=").map(lambda text: f"https://{text}"))
def test_no_text_makes_it_fail(text: str) -> None:
    """Any text gives a key, None, or a refusal."""
    with contextlib.suppress(OtherSite):
        named_key(text, JIRA)

"""The sandbox Jira without HTTP: time, index, keys, links."""

from __future__ import annotations

import pytest

from sandbox.jira.issues import Draft
from sandbox.jira.jql import Query
from sandbox.jira.site import JiraSite
from sandbox.virtual_clock import VirtualClock
from tests.support.jira_requests import MARKER, answer, create_body

DRAFT = Draft("PROJ", "Task", "The printer is on fire", labels=(MARKER,))
WITH_MARKER = Query(label=MARKER)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def site(clock: VirtualClock) -> JiraSite:
    return JiraSite(("PROJ", "OTHER"), clock)


def keys(site: JiraSite, query: Query = WITH_MARKER) -> list[str]:
    return [issue.key for issue in site.search(query)]


def test_the_search_lags_behind(site: JiraSite, clock: VirtualClock) -> None:
    """The search finds a ticket after the lag, a read by key at once; a shorter lag counts at once."""
    site.search_lag = 5
    site.commit(DRAFT)
    clock.advance(4.9)
    assert keys(site) == []
    assert site.find("PROJ-1") is not None
    clock.advance(0.1)
    assert keys(site) == ["PROJ-1"]
    site.commit(DRAFT)
    site.search_lag = 0
    assert keys(site) == ["PROJ-2", "PROJ-1"]


def test_a_late_commit_comes_at_its_time(site: JiraSite, clock: VirtualClock) -> None:
    """A late commit happens at its time without any call: it gets its key and is indexed from then."""
    site.search_lag = 5
    start = clock()
    site.commit_later(DRAFT, 20)
    site.commit_later(Draft("PROJ", "Bug", "The other one"), 10)
    assert site.commit(DRAFT).key == "PROJ-1"
    clock.advance(19.9)
    assert [issue.key for issue in site.issues] == ["PROJ-1", "PROJ-2"]
    clock.advance(4)
    assert [(issue.key, issue.created - start) for issue in site.issues] == [
        ("PROJ-1", 0),
        ("PROJ-2", 10),
        ("PROJ-3", 20),
    ]
    assert keys(site) == ["PROJ-1"]
    clock.advance(1.2)
    assert keys(site) == ["PROJ-3", "PROJ-1"]


def test_what_is_due_is_made_before_what_comes_now(site: JiraSite, clock: VirtualClock) -> None:
    """A late commit that is due gets its key before a new ticket does."""
    site.commit_later(DRAFT, 1)
    clock.advance(2)
    assert site.commit(DRAFT).key == "PROJ-2"


def test_keys_have_gaps_and_each_project_counts_for_itself(site: JiraSite) -> None:
    """Keys may have gaps, each project counts for itself, and a deleted ticket's key is not used again."""
    site.skip_keys(7)
    assert site.commit(DRAFT).key == "PROJ-8"
    site.delete("PROJ-8")
    assert site.commit(DRAFT).key == "PROJ-9"
    assert site.commit(Draft("OTHER", "Task", "x")).key == "OTHER-1"
    assert site.find("PROJ-8") is None
    with pytest.raises(KeyError):
        site.delete("PROJ-8")


def test_a_moved_ticket_answers_to_both_keys(site: JiraSite, clock: VirtualClock) -> None:
    """A moved ticket is found by both keys; the search has the old one until the lag is over."""
    site.search_lag = 5
    made = site.commit(DRAFT)
    clock.advance(5)
    moved = site.move(made.key, "OTHER")
    assert moved.key == "OTHER-1"
    assert site.find("proj-1") == site.find("OTHER-1") == site.find(made.id) == moved
    assert keys(site, Query("PROJ", MARKER)) == ["PROJ-1"]
    clock.advance(5)
    assert keys(site, Query("PROJ", MARKER)) == []
    assert keys(site, Query("OTHER", MARKER)) == ["OTHER-1"]


def test_a_stripped_label_leaves_the_property(site: JiraSite, clock: VirtualClock) -> None:
    """A stripped label leaves the marker in the property; the search finds it until the lag is over."""
    site.search_lag = 5
    answer(site, "POST", "3/issue", create_body())
    clock.advance(5)
    site.strip_label("PROJ-1", MARKER)
    assert keys(site) == ["PROJ-1"]
    clock.advance(5)
    assert keys(site) == []
    assert [issue.key for issue in site.issues_with(MARKER)] == ["PROJ-1"]
    assert site.issues_with("slk-other") == ()


def test_a_deleted_ticket_stays_in_the_index_for_a_while(site: JiraSite, clock: VirtualClock) -> None:
    """A deleted ticket stays in the index until the lag is over, and cannot be read."""
    site.search_lag = 5
    site.commit(DRAFT)
    clock.advance(5)
    site.delete("PROJ-1")
    assert keys(site) == ["PROJ-1"]
    assert site.find("PROJ-1") is None
    clock.advance(5)
    assert keys(site) == []


def test_a_link_is_put_once(site: JiraSite) -> None:
    """A link with the same ``globalId`` is replaced; one without is added each time."""
    issue = site.commit(DRAFT)
    first, is_new = site.put_link(issue.id, "slack", "https://a.example", "A")
    assert is_new
    second, is_new = site.put_link(issue.id, "slack", "https://b.example", "B")
    assert (second.id, is_new) == (first.id, False)
    site.put_link(issue.id, None, "https://c.example", "C")
    site.put_link(issue.id, None, "https://c.example", "C")
    assert [link.title for link in site.issues[0].remote_links] == ["B", "C", "C"]

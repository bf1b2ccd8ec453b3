"""Times as people read them, and a session's history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from console.timeline import timeline
from console.words import ago, of_ts, readable, sentence
from threadsync.sessions import ThreadSession
from threadsync.syncs import Attempt, Draft, SyncAction, SyncDetail, SyncState

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"),
        (-1, "1 s ago"),
        (-59, "59 s ago"),
        (-60, "1 min ago"),
        (-7300, "2 h ago"),
        (90, "in 1 min"),
        (-200_000, "2 d ago"),
    ],
)
def test_a_moment_in_words(seconds: float, words: str) -> None:
    """A moment is written in the greatest unit that fits."""
    assert ago(after(seconds), NOW) == words


def test_a_moment_is_written_as_people_do() -> None:
    """A moment is written with day, month and year, in UTC whatever its own zone is."""
    assert readable(NOW) == "25 Nov 2026, 12:00:00 UTC"
    east = datetime(2026, 11, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert readable(east) == "31 Oct 2026, 22:30:00 UTC"


@pytest.mark.parametrize(
    ("ts", "words"),
    [
        ("1700000000.000100", "14 Nov 2023, 22:13 UTC"),
        ("1700000000", "14 Nov 2023, 22:13 UTC"),
        ("1700000000000000.000100", "1700000000000000.000100"),
        ("9999999999999999.0", "9999999999999999.0"),
        ("NaN", "NaN"),
        ("\u0661\u0667.0", "\u0661\u0667.0"),
        ("", ""),
        (None, "None"),
    ],
)
def test_a_timestamp_of_slack_is_shown_as_a_moment(ts: str | None, words: str) -> None:
    """A timestamp of Slack's is shown as a moment; what is none stays as it is."""
    assert of_ts(ts) == words


def test_a_sentence_begins_with_a_capital() -> None:
    """A sentence begins with a capital, and is otherwise unchanged."""
    assert (sentence("jira is OK"), sentence("")) == ("Jira is OK", "")


def test_a_timeline_has_everything_in_its_order() -> None:
    """A timeline has commands, attempts and decisions in order, and no text of a draft."""
    session = ThreadSession(
        id=UUID(int=1), channel_id="C1", thread_ts="1.5", user_id="U1", status="synced", jira_key="PROJ-1",
        created_at=NOW, updated_at=after(50),
    )  # fmt: skip
    state = SyncState(
        session_id=session.id, channel_id="C1", thread_ts="1.5", state="done", reason=None, parked=False,
        attempts=1, next_attempt_at=None, jira_key="PROJ-1", origin="created", duplicates=(),
        requested_at=after(10), updated_at=after(50),
    )  # fmt: skip
    attempt = Attempt(
        number=1, step="create", started_at=after(20), deadline=None, finished_at=after(21),
        outcome="rejected", http_status=422, trace_id=None, reason="set_up", detail="Team is required",
    )  # fmt: skip
    detail = SyncDetail(
        sync=state, draft=Draft(summary="secret plan"), drafted_at="1700000000.000100", detail=None,
        marker=None, attempts=(attempt,),
        actions=(SyncAction(at=after(40), action="retry", actor="ada", reason="mended"),),
    )  # fmt: skip
    events = timeline(session, after(10), after(50), detail)
    assert [(event.kind, event.what, event.outcome) for event in events] == [
        ("command", "Session opened", ""),
        ("command", "Ready to sync", ""),
        ("command", "Ticket requested", ""),
        ("attempt", "Asked Jira to create a ticket", "rejected"),
        ("decision", "Retry", "ada"),
        ("command", "Synced", "PROJ-1"),
    ]
    assert events[3].why.startswith("HTTP 422; Jira's configuration does not allow")
    assert "secret plan" not in str(events)
    assert [event.what for event in timeline(session, None, None, None)] == ["Session opened"]
    assert (events[0].by, events[0].why) == ("U1", "")


def test_a_draft_of_no_moment_is_shown_as_such() -> None:
    """A draft with an impossible time is shown on the timeline as such."""
    session = ThreadSession(
        id=UUID(int=1), channel_id="C1", thread_ts="1.5", user_id="U1", status="ready_to_sync", jira_key=None,
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    state = SyncState(
        session_id=session.id, channel_id="C1", thread_ts="1.5", state="pending", reason=None, parked=False,
        attempts=0, next_attempt_at=NOW, jira_key=None, origin=None, duplicates=(), requested_at=after(10),
        updated_at=after(10),
    )  # fmt: skip
    for drafted_at in ("1795608030000000.000100", "1795608030000.000100", "NaN", "9" * 400):
        detail = SyncDetail(
            sync=state, draft=Draft(summary="x"), drafted_at=drafted_at, detail=None, marker=None,
            attempts=(), actions=(),
        )  # fmt: skip
        event = timeline(session, None, None, detail)[-1]
        assert event.what == "Draft written at an invalid time"
        assert event.why == drafted_at[:40]

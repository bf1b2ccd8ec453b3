"""One status message a session, whatever Slack does: it is edited, found again, never posted twice."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
import structlog

from sandbox.faults import Dropped, Hangs, RateLimited, Refused
from sandbox.slack import SlackSandbox
from tests.status_story import CANARY, CHANNEL, THREAD, USER, Story
from tests.waiting import wait_until
from worker.db.pool import Pool
from worker.slack_status.announcer import SETTLE_SECONDS, Result
from worker.slack_status.connection import Connection

POST, EDIT, FIND = "chat.postMessage", "chat.update", "conversations.replies"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.add(CHANNEL, USER, "help!", ts=THREAD)
        yield slack


@pytest.fixture
def story(pool: Pool, slack: SlackSandbox) -> Story:
    return Story(pool, slack)


def test_one_message_is_edited_through_all_states(story: Story) -> None:
    """Posted once, in the thread; then each change shows in the same message."""
    done = {"jira_key": "PROJ-1", "origin": "created", "done_at": story.now()}
    inflight = {"marker": f"slk-{'a' * 26}", "project_key": "PROJ"}
    assert story.announce() == "shown"
    assert story.texts == ["*Queued.* The Jira ticket is created next."]
    for state, reason, columns, words in (
        ("inflight", None, inflight, "*Creating"),
        ("unknown", "no_answer", {}, "*Confirming with Jira.*"),
        ("retry_wait", "not_reached", {}, "*Not created yet.*"),
        ("blocked", "set_up", {}, "*Needs a person:*"),
        ("failed", "draft_refused", {}, "*Needs another draft:*"),
        ("review", "kept_failing", {}, "*Needs a person:*"),
        ("done", None, done, "*Created* <https://jira.example/browse/PROJ-1|PROJ-1>"),
    ):
        story.move(state, reason, **columns)
        assert story.announce() == "shown"
        (text,) = story.texts
        assert text.startswith(words)
        assert story.announce() == "not due"
    assert (story.count(POST), story.count(EDIT), story.count(FIND)) == (1, 7, 0)


def test_the_message_is_a_quiet_reply(story: Story, slack: SlackSandbox) -> None:
    """In the thread, without previews, and its metadata tells which session it is about."""
    story.announce()
    message = slack.messages[-1]
    assert message.thread_ts == THREAD
    assert message.metadata == {
        "event_type": "threadsync_sync",
        "event_payload": {"session_id": str(story.session_id)},
    }
    assert slack.calls(POST)[0].arguments["unfurl_links"] == "false"


def test_what_is_shown_already_is_not_sent_again(story: Story) -> None:
    """A change that nobody can see costs no call."""
    story.announce()
    story.move("pending")
    assert story.announce() == "unchanged"
    assert story.row()["announce_at"] is None
    assert (story.count(POST), story.count(EDIT)) == (1, 0)


def test_nothing_of_the_draft_is_sent(story: Story) -> None:
    """The message is for the channel; the draft is for Jira."""
    story.announce()
    story.move("failed", "draft_refused", detail=f"The summary {CANARY} is wrong")
    story.announce()
    assert CANARY not in story.all_that_was_sent()


def test_a_post_that_was_made_without_an_answer_is_adopted(story: Story, slack: SlackSandbox) -> None:
    """It is looked for by its metadata, and edited to what is true by then."""
    slack.fail(POST, Dropped(committed=True))
    assert story.announce() == "put off"
    story.move("blocked", "set_up")
    story.later(6)
    assert story.announce() == "shown"
    (text,) = story.texts
    assert "*Needs a person:*" in text
    assert story.count(POST) == 1


def test_a_post_that_was_not_made_is_made_when_that_is_certain(story: Story, slack: SlackSandbox) -> None:
    """Absence counts only when a slow Slack has had its time."""
    slack.fail(POST, Dropped(committed=False))
    assert story.announce() == "put off"
    story.later(6)
    assert story.announce() == "put off"
    assert story.count(POST) == 1
    story.later(SETTLE_SECONDS)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 2)


def test_a_post_of_unknown_end_twice_is_still_one_message(story: Story, slack: SlackSandbox) -> None:
    """The second one was made, and the look for it failed at first."""
    slack.fail(POST, Dropped(committed=False), Dropped(committed=True))
    slack.fail(FIND, Dropped())
    results: list[Result] = []
    while "shown" not in results:
        results.append(story.announce())
        story.later(60)
        assert len(results) < 10
    assert (len(story.texts), story.count(POST)) == (1, 2)


def test_a_post_that_takes_too_long_is_adopted(story: Story, slack: SlackSandbox) -> None:
    """The time-out says nothing about whether the message is there."""
    slack.fail(POST, Hangs(0.8))
    assert story.announce(Connection(slack.token, slack.api_url, timeout=0.3)) == "put off"
    wait_until(lambda: story.texts, "Slack has posted it")
    story.later(SETTLE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_ours_is_found_in_a_long_thread(story: Story, slack: SlackSandbox) -> None:
    """Page by page; another session's message is not taken for ours."""
    metadata = {"event_type": "threadsync_sync", "event_payload": {"session_id": "another"}}
    other = {"channel": CHANNEL, "thread_ts": THREAD, "text": "not this", "metadata": metadata}
    slack.workspace.call(POST, other)
    slack.fail(POST, Dropped(committed=True))
    story.announce()
    ours = slack.messages[-1]
    for number in range(450):
        ts = f"{float(ours.ts) - 500 + number:.6f}"
        slack.workspace.add(CHANNEL, USER, "me too", ts=ts, thread_ts=THREAD)
    story.later(60)
    assert story.announce() == "shown"
    assert (story.count(POST), story.count(FIND)) == (1, 3)
    assert [call.arguments["ts"] for call in slack.calls(EDIT)] == [ours.ts]


def test_a_rate_limit_is_waited_for_as_long_as_slack_says(story: Story, slack: SlackSandbox) -> None:
    """Nothing is asked before, also when the sync changes meanwhile; nothing needs to be looked for then."""
    slack.fail(POST, RateLimited(30))
    assert story.announce() == "put off"
    story.move("blocked", "set_up")
    story.later(25)
    assert story.announce() == "not due"
    assert story.store.take_due(most=10, for_seconds=60) == []
    story.later(6)
    assert story.store.take_due(most=10, for_seconds=60) == [story.session_id]
    assert story.announce() == "shown"
    assert (story.count(POST), story.count(FIND)) == (2, 0)


@pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel", "is_archived", "invalid_auth"])
def test_what_slack_refuses_is_logged_once_and_left(error: str, story: Story, slack: SlackSandbox) -> None:
    """Until the sync changes; then it may be possible again."""
    slack.fail(POST, Refused(error))
    with structlog.testing.capture_logs() as logs:
        assert story.announce() == "stopped"
        story.later(3600)
        assert story.announce() == "not due"
        assert story.store.take_due(most=10, for_seconds=60) == []
    (warning,) = [item for item in logs if item["log_level"] == "warning"]
    assert (warning["event"], warning["error"]) == ("status not shown", error)
    story.move("blocked", "set_up")
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(FIND)) == (1, 0)


def test_a_message_that_somebody_deleted_is_posted_again(story: Story, slack: SlackSandbox) -> None:
    """After a look that says that it is gone indeed."""
    story.announce()
    slack.workspace.delete(CHANNEL, slack.messages[-1].ts)
    story.move("blocked", "set_up")
    story.later(SETTLE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST), story.count(FIND)) == (1, 2, 1)


def test_a_message_that_slack_only_mislaid_is_not_posted_again(story: Story, slack: SlackSandbox) -> None:
    """It says `message_not_found`, and then shows it."""
    story.announce()
    story.move("blocked", "set_up")
    slack.fail(EDIT, Refused("message_not_found"))
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


@pytest.mark.parametrize("error", ["edit_window_closed", "cant_update_message"])
def test_a_message_that_cannot_be_edited_stays(error: str, story: Story, slack: SlackSandbox) -> None:
    """An old message is better than two."""
    story.announce()
    story.move("blocked", "set_up")
    slack.fail(EDIT, Refused(error))
    assert story.announce() == "stopped"
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_with_slack_away_the_pauses_grow_to_ten_minutes(story: Story, slack: SlackSandbox) -> None:
    """Nothing was sent, so nothing needs to be looked for when Slack is back."""
    nobody = "http://127.0.0.1:1/api/"
    pauses = []
    for _ in range(9):
        assert story.announce(Connection(slack.token, nobody)) == "put off"
        row = story.row()
        pauses.append(round((row["lease_until"] - story.now()).total_seconds() / 5) * 5)
        assert row["post_begun_at"] is None
        story.later(601)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(FIND), story.row()["failures"]) == (1, 0, 0)


def test_a_process_leaves_a_slack_alone_that_does_not_answer(story: Story, slack: SlackSandbox) -> None:
    """Each session's call would keep it from its work until the time-out."""
    with story.announcer(Connection(slack.token, "http://127.0.0.1:1/api/")) as announcer:
        assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(story.session_id) == "silent"
        story.later(6)
        assert announcer.announce(story.session_id) == "put off"
        story.later(6)
        assert announcer.announce(story.session_id) == "silent"


def test_a_process_that_slack_slows_down_waits_with_all_its_sessions(
    story: Story, slack: SlackSandbox
) -> None:
    """Slack counts calls, not sessions."""
    slack.fail(POST, RateLimited(30))
    with story.announcer() as announcer:
        assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(UUID(int=7)) == "silent"
        story.later(31)
        assert announcer.announce(story.session_id) == "shown"


def test_the_sweep_takes_what_is_out_of_date_once(story: Story) -> None:
    """Oldest first, so many at a time, and again when its message was lost in the broker."""
    assert story.store.take_due(most=0, for_seconds=60) == []
    assert story.store.take_due(most=50, for_seconds=60) == [story.session_id]
    assert story.store.take_due(most=50, for_seconds=60) == []
    assert story.announce() == "shown"
    story.later(61)
    assert story.store.take_due(most=50, for_seconds=60) == []

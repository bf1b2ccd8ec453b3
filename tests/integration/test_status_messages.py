"""The status message of a session: edited, found again and never posted twice, whatever Slack does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from sandbox.faults import CutOff, Dropped, Fault, Hangs, Page, RateLimited, Refused
from sandbox.slack.server import SlackSandbox
from tests.support.status_story import CANARY, CHANNEL, THREAD, USER, Story
from tests.support.waiting import wait_until
from threadsync.config import get_settings
from worker.cli.health import slack_verdict
from worker.db.pool import Pool
from worker.db.syncs.store import SyncStore
from worker.status_message.announcer import LATEST_SEND_SECONDS, SETTLE_SECONDS, Result
from worker.status_message.web_api import WebApi

POST, EDIT, FIND, PROBE = "chat.postMessage", "chat.update", "conversations.replies", "auth.test"
OTHER_THREAD = "1700000000.000200"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.add(CHANNEL, USER, "help!", ts=THREAD)
        yield slack


@pytest.fixture
def story(pool: Pool, slack: SlackSandbox) -> Story:
    return Story(pool, slack)


def test_one_message_is_edited_through_all_states(story: Story) -> None:
    """A sync's message is posted once and edited for each new state."""
    done = {"jira_key": "PROJ-1", "origin": "created", "done_at": story.now()}
    inflight = {"marker": f"slk-{'a' * 26}", "project_key": "PROJ"}
    assert story.announce() == "shown"
    assert story.texts == ["*Queued.* The Jira ticket will be created next."]
    for state, reason, columns, words in (
        ("inflight", None, inflight, "*Creating"),
        ("unknown", "no_answer", {}, "*Confirming with Jira.*"),
        ("retry_wait", "not_reached", {}, "*Not created yet.*"),
        ("blocked", "set_up", {}, "*Needs attention:*"),
        ("failed", "draft_refused", {}, "*Needs another draft:*"),
        ("review", "kept_failing", {}, "*Needs attention:*"),
        ("done", None, done, "*Created* <https://jira.example/browse/PROJ-1|PROJ-1>"),
    ):
        story.move(state, reason, **columns)
        assert story.announce() == "shown"
        (text,) = story.texts
        assert text.startswith(words)
        assert story.announce() == "not due"
    assert (story.count(POST), story.count(EDIT), story.count(FIND)) == (1, 7, 0)


def test_the_message_is_a_quiet_reply(story: Story, slack: SlackSandbox) -> None:
    """The message is in the thread, without previews, and its metadata names the session."""
    story.announce()
    message = slack.messages[-1]
    assert message.thread_ts == THREAD
    assert message.metadata == {
        "event_type": "threadsync_sync",
        "event_payload": {"session_id": str(story.session_id)},
    }
    assert slack.calls(POST)[0].arguments["unfurl_links"] == "false"


def test_what_is_shown_already_is_not_sent_again(story: Story) -> None:
    """A change that leaves the text the same makes no call to Slack."""
    story.announce()
    story.move("pending")
    assert story.announce() == "unchanged"
    assert story.row()["announce_at"] is None
    assert (story.count(POST), story.count(EDIT)) == (1, 0)


def test_nothing_of_the_draft_is_sent(story: Story) -> None:
    """No text of the draft or of Jira's refusal is sent to Slack."""
    story.announce()
    story.move("failed", "draft_refused", detail=f"The summary {CANARY} is wrong")
    story.announce()
    assert CANARY not in story.all_that_was_sent()


def test_a_post_that_was_made_without_an_answer_is_adopted(story: Story, slack: SlackSandbox) -> None:
    """A post that was made without a response is found by its metadata and edited."""
    slack.fail(POST, Dropped(committed=True))
    assert story.announce() == "put off"
    story.move("blocked", "set_up")
    story.later(6)
    assert story.announce() == "shown"
    (text,) = story.texts
    assert "*Needs attention:*" in text
    assert story.count(POST) == 1


def test_a_post_that_was_not_made_is_made_when_that_is_certain(story: Story, slack: SlackSandbox) -> None:
    """A post that was not made is repeated once the settle time is over."""
    slack.fail(POST, Dropped(committed=False))
    assert story.announce() == "put off"
    story.later(6)
    assert story.announce() == "put off"
    assert story.count(POST) == 1
    story.later(SETTLE_SECONDS)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 2)


def test_a_post_of_unknown_end_twice_is_still_one_message(story: Story, slack: SlackSandbox) -> None:
    """Two posts without a response end in one message, even when the search fails at first."""
    slack.fail(POST, Dropped(committed=False), Dropped(committed=True))
    slack.fail(FIND, Dropped())
    results: list[Result] = []
    while "shown" not in results:
        results.append(story.announce())
        story.later(60)
        assert len(results) < 10
    assert (len(story.texts), story.count(POST)) == (1, 2)


def test_a_post_that_takes_too_long_is_adopted(story: Story, slack: SlackSandbox) -> None:
    """A post that was made after its time-out is found and adopted."""
    slack.fail(POST, Hangs(0.8))
    assert story.announce(WebApi(slack.token, slack.api_url, timeout=0.3)) == "put off"
    wait_until(lambda: story.texts, "Slack has posted it")
    story.later(SETTLE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_ours_is_found_in_a_long_thread(story: Story, slack: SlackSandbox) -> None:
    """Our message is found on a later page of a long thread, and another session's is not taken for it."""
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
    """A rate limit is waited out as long as Slack asks, even when the sync changes meanwhile."""
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


@pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel", "is_archived", "of_next_year"])
@pytest.mark.parametrize("method", [POST, EDIT])
def test_a_refusal_is_tried_again_until_the_thread_tells_the_truth(
    method: str, error: str, story: Story, slack: SlackSandbox
) -> None:
    """A refused message is tried again at growing pauses, with the reason stored meanwhile."""
    if method == EDIT:
        story.announce()
    story.move("blocked", "set_up")
    slack.fail(method, Refused(error), Refused(error))
    for pause in (60, 120):
        assert story.announce() == "put off"
        assert story.row()["trouble"] == error
        story.later(pause - 5)
        assert story.store.take_due(most=10, for_seconds=60) == []
        story.later(6)
        assert story.store.take_due(most=10, for_seconds=60) == [story.session_id]
    assert story.announce() == "shown"
    (text,) = story.texts
    assert "*Needs attention:*" in text
    row = story.row()
    assert (row["trouble"], row["refusals"], row["announce_at"]) == (None, 0, None)


def test_a_change_need_not_wait_for_the_end_of_a_refusals_pause(story: Story, slack: SlackSandbox) -> None:
    """A change of the sync ends the pause that followed a refusal."""
    slack.fail(POST, *[Refused("not_in_channel")] * 4)
    for _ in range(4):
        assert story.announce() == "put off"
        story.later(3600)
        assert story.store.take_due(most=10, for_seconds=60) == [story.session_id]
    story.move("blocked", "set_up")
    assert story.store.take_due(most=10, for_seconds=60) == [story.session_id]
    assert story.announce() == "shown"


def test_after_a_day_of_refusals_it_is_given_up_with_the_reason(story: Story, slack: SlackSandbox) -> None:
    """A message refused for a day is given up with its reason until the sync changes."""
    slack.fail(POST, *[Refused("is_archived")] * 30)
    tries = 0
    with structlog.testing.capture_logs() as logs:
        while story.announce() == "put off":
            story.later(3601)
            tries += 1
    assert tries == 29
    story.later(86_400)
    assert story.store.take_due(most=10, for_seconds=60) == []
    assert story.announce() == "not due"
    (warning,) = [item for item in logs if item["log_level"] == "warning"]
    assert (warning["event"], warning["error"]) == ("status not shown", "is_archived")
    detail = SyncStore(story.pool).get(story.session_id)
    assert detail is not None
    assert detail.slack_trouble == "is_archived"
    story.move("blocked", "set_up")
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(FIND)) == (1, 0)


@pytest.mark.parametrize("fault", [Page(200), Page(403), Page(502), CutOff(), RateLimited("soon"), Dropped()])
@pytest.mark.parametrize("method", [POST, EDIT])
def test_an_answer_that_says_nothing_is_no_end(
    method: str, fault: Fault, story: Story, slack: SlackSandbox
) -> None:
    """Unclear responses to a post or an edit end in one message with the right text."""
    if method == EDIT:
        story.announce()
    story.move("blocked", "set_up")
    slack.fail(method, fault, fault, fault)
    results: list[Result] = []
    while "shown" not in results:
        results.append(story.announce())
        story.later(60)
        assert len(results) < 15
    (text,) = story.texts
    assert "*Needs attention:*" in text
    assert len(slack.messages) == 2


@pytest.mark.parametrize("error", ["invalid_auth", "token_revoked", "account_inactive", "missing_scope"])
@pytest.mark.parametrize("method", [POST, EDIT])
def test_a_refused_token_parks_what_would_be_said(
    method: str, error: str, story: Story, slack: SlackSandbox
) -> None:
    """A refused token parks all messages until one of the regular probes succeeds."""
    if method == EDIT:
        story.announce()
    slack.refuses = error
    story.move("blocked", "set_up")
    assert story.announce() == "parked"
    assert story.announce() == "not due"
    assert story.store.take_due(most=10, for_seconds=60) == []
    trouble = story.store.trouble()
    assert trouble is not None
    assert trouble.reason == error
    with story.announcer() as announcer:
        assert not announcer.probe()
        assert story.count(PROBE) == 0
        for number in range(1, 4):
            story.later(61)
            assert not announcer.probe()
            assert not announcer.probe()
            assert story.count(PROBE) == number
        slack.refuses = None
        story.later(61)
        assert announcer.probe()
    assert story.store.trouble() is None
    assert story.store.take_due(most=10, for_seconds=60) == [story.session_id]
    assert story.announce() == "shown"
    (text,) = story.texts
    assert "*Needs attention:*" in text


def test_a_thread_that_is_asked_for_while_the_token_is_refused_hears_later(
    story: Story, slack: SlackSandbox
) -> None:
    """A thread whose request comes while the token is refused gets its message after the probe succeeded."""
    slack.refuses = "invalid_auth"
    assert story.announce() == "parked"
    other = story.ask_in(OTHER_THREAD)
    with story.announcer() as announcer:
        assert announcer.announce(other) == "not due"
        assert story.count(POST) == 1
        slack.refuses = None
        story.later(16)
        assert announcer.probe()
        assert set(story.store.take_due(most=10, for_seconds=60)) == {story.session_id, other}
        assert [announcer.announce(item) for item in (story.session_id, other)] == ["shown"] * 2
    assert {item.thread_ts for item in slack.messages} == {None, THREAD, OTHER_THREAD}


def test_health_says_that_slack_refuses_us(
    story: Story, slack: SlackSandbox, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The health check reports that Slack refuses the token, with the reason."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SLACK_BOT_TOKEN", slack.token)
    get_settings.cache_clear()
    assert slack_verdict()["slack"].state == "ok"
    slack.refuses = "account_inactive"
    assert story.announce() == "parked"
    verdict = slack_verdict()["slack"]
    assert verdict.state == "refused"
    assert "account_inactive" in verdict.why
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    get_settings.cache_clear()
    assert slack_verdict() == {}


def test_probes_become_rarer_when_they_say_little(story: Story, slack: SlackSandbox) -> None:
    """Probes become rarer while each message is refused right after a successful probe."""
    pauses = []
    for _ in range(9):
        slack.fail(POST, Refused("missing_scope"))
        assert story.announce() == "parked"
        pauses.append(round((story.trouble()["next_probe_at"] - story.now()).total_seconds()))
        story.later(pauses[-1] + 1)
        with story.announcer() as announcer:
            assert announcer.probe()
    assert pauses == [15, 60, 120, 240, 480, 900, 900, 900, 900]
    assert story.announce() == "shown"
    story.later(3601)
    slack.fail(EDIT, Refused("missing_scope"))
    story.move("blocked", "set_up")
    assert story.announce() == "parked"
    assert (story.trouble()["next_probe_at"] - story.now()).total_seconds() <= 15


def test_a_slack_that_is_away_is_no_answer_to_a_probe(story: Story, slack: SlackSandbox) -> None:
    """A probe that Slack does not answer clearly changes nothing."""
    slack.refuses = "token_revoked"
    assert story.announce() == "parked"
    slack.fail(PROBE, Page(502), Refused("internal_error"))
    for _ in range(2):
        story.later(61)
        with story.announcer() as announcer:
            assert not announcer.probe()
        trouble = story.store.trouble()
        assert trouble is not None
        assert trouble.reason == "token_revoked"


def test_a_message_that_somebody_deleted_is_posted_again(story: Story, slack: SlackSandbox) -> None:
    """A deleted message is posted again after a search has not found it."""
    story.announce()
    slack.workspace.delete(CHANNEL, slack.messages[-1].ts)
    story.move("blocked", "set_up")
    story.later(SETTLE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST), story.count(FIND)) == (1, 2, 1)


def test_a_message_that_slack_only_mislaid_is_not_posted_again(story: Story, slack: SlackSandbox) -> None:
    """A message that Slack first reports as missing and then shows is not posted again."""
    story.announce()
    story.move("blocked", "set_up")
    slack.fail(EDIT, Refused("message_not_found"))
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


@pytest.mark.parametrize("error", ["edit_window_closed", "cant_update_message"])
def test_a_message_that_cannot_be_edited_is_followed_by_another(
    error: str, story: Story, slack: SlackSandbox
) -> None:
    """A message that cannot be edited is followed by another one only for a state that lasts."""
    story.announce()
    story.move("retry_wait", "not_reached")
    slack.fail(EDIT, Refused(error))
    assert story.announce() == "stopped"
    assert (len(story.texts), story.row()["trouble"]) == (1, error)
    story.move("blocked", "set_up")
    slack.fail(EDIT, Refused(error))
    slack.fail(POST, Dropped(committed=True))
    assert story.announce() == "put off"
    story.later(60)
    assert story.announce() == "shown"
    assert [text[:9] for text in story.texts] == ["*Queued.*", "*Needs at"]
    assert story.count(POST) == 2
    assert slack.calls(EDIT)[-1].arguments["ts"] == slack.messages[-1].ts
    assert story.row()["trouble"] is None


def test_with_slack_away_the_pauses_grow_to_ten_minutes(story: Story, slack: SlackSandbox) -> None:
    """Pauses grow to ten minutes while Slack is unreachable; then the message is posted without a search."""
    nobody = "http://127.0.0.1:1/api/"
    pauses = []
    for _ in range(9):
        assert story.announce(WebApi(slack.token, nobody)) == "put off"
        row = story.row()
        pauses.append(round((row["lease_until"] - story.now()).total_seconds() / 5) * 5)
        assert row["post_begun_at"] is None
        story.later(601)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(FIND), story.row()["failures"]) == (1, 0, 0)


def test_a_process_leaves_a_slack_alone_that_does_not_answer(story: Story, slack: SlackSandbox) -> None:
    """An announcer makes no calls for a while after Slack did not respond."""
    with story.announcer(WebApi(slack.token, "http://127.0.0.1:1/api/")) as announcer:
        assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(story.session_id) == "silent"
        story.later(6)
        assert announcer.announce(story.session_id) == "put off"
        story.later(6)
        assert announcer.announce(story.session_id) == "silent"


def test_a_process_that_slack_slows_down_waits_with_all_its_sessions(
    story: Story, slack: SlackSandbox
) -> None:
    """A rate limit for one session makes the announcer wait with all of them."""
    slack.fail(POST, RateLimited(30))
    with story.announcer() as announcer:
        assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(UUID(int=7)) == "silent"
        story.later(31)
        assert announcer.announce(story.session_id) == "shown"


def test_a_slow_database_keeps_no_other_session_waiting(
    story: Story, slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message put off for a slow database does not delay another session's."""
    begin = story.store.begin_post

    def slowly(claim: Any) -> bool:
        begun = begin(claim)
        story.later(LATEST_SEND_SECONDS + 1)
        return begun

    other = story.ask_in(OTHER_THREAD)
    with story.announcer() as announcer:
        with monkeypatch.context() as patched:
            patched.setattr(story.store, "begin_post", slowly)
            assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(other) == "shown"


def test_the_sweep_takes_what_is_out_of_date_once(story: Story) -> None:
    """The sweep takes a due message once, no more than asked for, and not after it is shown."""
    assert story.store.take_due(most=0, for_seconds=60) == []
    assert story.store.take_due(most=50, for_seconds=60) == [story.session_id]
    assert story.store.take_due(most=50, for_seconds=60) == []
    assert story.announce() == "shown"
    story.later(61)
    assert story.store.take_due(most=50, for_seconds=60) == []

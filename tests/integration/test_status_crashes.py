"""Announcers that die, hang or work at the same time, and leave one message with the newest state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest

from sandbox.faults import Hangs
from sandbox.slack.server import SlackSandbox
from tests.support.status_story import CHANNEL, THREAD, USER, SpiedConnection, Story
from worker.db.pool import Pool
from worker.status_message.announcer import LATEST_SEND_SECONDS, LEASE_SECONDS, Result

POST, EDIT, FIND = "chat.postMessage", "chat.update", "conversations.replies"


class Crash(BaseException):
    """The death of the process at a given call."""


def crash() -> None:
    raise Crash


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        slack.workspace.add(CHANNEL, USER, "help!", ts=THREAD)
        yield slack


@pytest.fixture
def story(pool: Pool, slack: SlackSandbox) -> Story:
    return Story(pool, slack)


def test_announcers_at_the_same_time_post_one_message(story: Story, slack: SlackSandbox) -> None:
    """One of six concurrent announcers posts the message, and the others find it not due."""
    slack.fail(POST, Hangs(0.3))
    barrier, results = threading.Barrier(6), list[Result]()

    def announce() -> None:
        with story.announcer() as announcer:
            barrier.wait()
            results.append(announcer.announce(story.session_id))

    threads = [threading.Thread(target=announce) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["not due"] * 5 + ["shown"]
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_a_crash_after_the_post_is_found_out(story: Story, slack: SlackSandbox) -> None:
    """A message whose announcer died after the post is found and adopted."""
    with pytest.raises(Crash):
        story.announce(SpiedConnection(slack, POST, after=crash))
    assert story.row()["message_ts"] is None
    assert story.announce() == "not due"
    story.later(LEASE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_a_crash_before_the_post_is_found_out_too(story: Story, slack: SlackSandbox) -> None:
    """A message whose announcer died before the post is searched for and then posted."""
    with pytest.raises(Crash):
        story.announce(SpiedConnection(slack, POST, before=crash))
    story.later(LEASE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST), story.count(FIND)) == (1, 1, 1)


def test_a_crash_in_an_edit_is_repeated(story: Story, slack: SlackSandbox) -> None:
    """An edit whose announcer died is made again."""
    story.announce()
    story.move("blocked", "set_up")
    with pytest.raises(Crash):
        story.announce(SpiedConnection(slack, EDIT, after=crash))
    story.later(LEASE_SECONDS + 1)
    assert story.announce() == "shown"
    assert (len(story.texts), story.count(POST)) == (1, 1)


def test_a_process_that_comes_back_late_writes_nothing(story: Story, slack: SlackSandbox) -> None:
    """An announcer that hung after its post writes nothing, as another one has taken over."""

    def meanwhile() -> None:
        story.later(LEASE_SECONDS + 1)
        story.move("blocked", "set_up")
        assert story.announce() == "shown"

    assert story.announce(SpiedConnection(slack, POST, after=meanwhile)) == "lost"
    (text,) = story.texts
    assert "*Needs attention:*" in text
    assert story.row()["announce_at"] is None


def test_a_process_that_stands_still_before_its_post_does_not_send_it(
    story: Story, slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An announcer that hung before its post sends nothing and puts the message off."""
    begin = story.store.begin_post

    def slowly(claim: object) -> bool:
        begun = begin(claim)  # type: ignore[arg-type]
        story.later(LEASE_SECONDS - 1)
        return begun

    with monkeypatch.context() as patched:
        patched.setattr(story.store, "begin_post", slowly)
        assert story.announce() == "put off"
    assert story.count(POST) == 0
    assert story.row()["post_begun_at"] is None
    story.later(6)
    assert story.announce() == "shown"


def test_a_slow_database_does_not_silence_slack_for_the_other_sessions(
    story: Story, slack: SlackSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An announcer with a slow database puts its message off without counting a failure of Slack."""
    begin = story.store.begin_post

    def slowly(claim: object) -> bool:
        story.later(LATEST_SEND_SECONDS + 1)
        return begin(claim)  # type: ignore[arg-type]

    with story.announcer() as announcer:
        with monkeypatch.context() as patched:
            patched.setattr(story.store, "begin_post", slowly)
            assert announcer.announce(story.session_id) == "put off"
        assert announcer.announce(UUID(int=7)) == "not due"
        assert story.row()["failures"] == 0
        story.later(6)
        assert announcer.announce(story.session_id) == "shown"


def test_a_change_while_the_message_is_on_its_way_is_shown_next(story: Story, slack: SlackSandbox) -> None:
    """A change during a post is shown by the next announcement."""
    connection = SpiedConnection(slack, POST, after=lambda: story.move("blocked", "set_up"))
    assert story.announce(connection) == "shown"
    assert "*Queued.*" in story.texts[0]
    assert story.row()["announce_at"] is not None
    assert story.announce() == "shown"
    (text,) = story.texts
    assert "*Needs attention:*" in text

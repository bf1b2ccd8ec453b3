"""Story of the demo: the same for the same seed, and hard enough to prove something."""

from __future__ import annotations

from collections import Counter

from sandbox.demo.story import tell


def test_a_seed_tells_one_story() -> None:
    """A seed tells the same story twice, and another seed tells another one."""
    ends = [thread.status for thread in tell(60, 1_700_000_000, seed=1).threads]
    assert ends == [thread.status for thread in tell(60, 1_700_000_000, seed=1).threads]
    assert ends != [thread.status for thread in tell(60, 1_700_000_000, seed=2).threads]


def test_the_story_has_all_that_goes_wrong() -> None:
    """The story has redeliveries, doubled mentions, every status, both kinds of tickets and early links."""
    story = tell(200, 1_700_000_000, seed=1)
    assert sum(step.redelivery > 0 for step in story.steps) > 10
    assert sum(step.is_double for step in story.steps) > 10
    assert min(Counter(thread.status for thread in story.threads).values()) > 5
    assert min(Counter(thread.asks_for_ticket for thread in story.threads).values()) > 20
    assert [step.at for step in story.steps] == sorted(step.at for step in story.steps)
    opened: set[str] = set()
    early = 0
    for step in story.steps:
        event = step.payload.get("event", {})
        opened.add(event.get("thread_ts") or event.get("ts", ""))
        early += bool(step.payload.get("text", "").startswith("link")) and (
            step.payload["text"].split()[-1] not in opened
        )
    assert early > 0


def test_threads_are_their_own() -> None:
    """No two threads share a timestamp, and none shares a ticket."""
    threads = tell(200, 1_700_000_000, seed=3).threads
    assert len({(thread.channel_id, thread.thread_ts) for thread in threads}) == 200
    keys = [thread.jira_key for thread in threads if thread.jira_key]
    assert len(set(keys)) == len(keys)

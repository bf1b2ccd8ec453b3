"""The Slack on localhost as Slack's own SDK sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web.client import WebClient

from sandbox.faults import Dropped, Hangs, RateLimited, Refused
from sandbox.slack.requests import BOT_USER_ID
from sandbox.slack.server import RESPONSE_URL, SlackSandbox

CHANNEL = "C0123"


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox() as slack:
        yield slack


@pytest.fixture
def web(slack: SlackSandbox) -> WebClient:
    return new_client(slack)


def new_client(slack: SlackSandbox, **given: Any) -> WebClient:
    options = {"token": slack.token, "base_url": slack.api_url, "retry_handlers": [], "timeout": 5, **given}
    client = WebClient(**options)
    client.proxy = None
    return client


def error_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def test_a_message_is_kept_and_found_in_its_thread(slack: SlackSandbox, web: WebClient) -> None:
    """A message is posted, edited, reacted to, linked, and found in its thread."""
    root = slack.workspace.add(CHANNEL, "U0456", "help!", ts="1700000000.000100")
    blocks = [{"type": "divider"}]
    posted = web.chat_postMessage(channel=CHANNEL, text="one", thread_ts=root.ts, blocks=blocks)
    web.chat_update(channel=CHANNEL, ts=posted["ts"], text="two")
    web.reactions_add(channel=CHANNEL, timestamp=posted["ts"], name="eyes")
    replies = web.conversations_replies(channel=CHANNEL, ts=root.ts)["messages"]
    assert [(item["user"], item["text"]) for item in replies] == [("U0456", "help!"), (BOT_USER_ID, "two")]
    assert [item.text for item in slack.messages] == ["help!", "two"]
    link = web.chat_getPermalink(channel=CHANNEL, message_ts=posted["ts"])["permalink"]
    assert f"thread_ts={root.ts}" in link


def test_what_only_one_user_sees_is_in_no_thread(slack: SlackSandbox, web: WebClient) -> None:
    """An ephemeral message is kept with its reader and is in no thread."""
    web.chat_postEphemeral(channel=CHANNEL, user="U0456", text="psst", thread_ts="1.1")
    assert slack.messages[0].only_for == "U0456"
    assert error_of(web.conversations_replies, channel=CHANNEL, ts="1.1") == "thread_not_found"


def test_people_channels_views_and_who_we_are(web: WebClient) -> None:
    """The methods on identity, channels, people and views respond in Slack's format."""
    assert web.auth_test()["user_id"] == BOT_USER_ID
    assert web.conversations_info(channel=CHANNEL)["channel"]["is_channel"] is True
    assert web.users_info(user="U0456")["user"]["id"] == "U0456"
    assert web.views_open(trigger_id="1.2", view={"type": "modal"})["view"]["type"] == "modal"


def test_metadata_is_shown_to_who_asks(slack: SlackSandbox, web: WebClient) -> None:
    """A message's metadata is returned on request and survives an edit without metadata."""
    root = slack.workspace.add(CHANNEL, "U0456", "help!", ts="1700000000.000100")
    metadata = {"event_type": "x", "event_payload": {"id": "7"}}
    posted = web.chat_postMessage(channel=CHANNEL, text="one", thread_ts=root.ts, metadata=metadata)
    web.chat_update(channel=CHANNEL, ts=posted["ts"], text="two")
    asked = web.conversations_replies(channel=CHANNEL, ts=root.ts, include_all_metadata=True)
    assert [item.get("metadata") for item in asked["messages"]] == [None, metadata]
    unasked = web.conversations_replies(channel=CHANNEL, ts=root.ts)
    assert all("metadata" not in item for item in unasked["messages"])
    broken = {"channel": CHANNEL, "text": "x", "metadata": {"id": 7}}
    assert error_of(web.api_call, api_method="chat.postMessage", json=broken) == "invalid_metadata_format"


def test_a_thread_comes_in_pages(slack: SlackSandbox, web: WebClient) -> None:
    """A thread is returned in pages with its root on each, optionally from a given time on."""
    slack.workspace.add(CHANNEL, "U0456", "0", ts="1.1")
    for number in range(1, 6):
        slack.workspace.add(CHANNEL, "U0456", str(number), ts=f"{number}.2", thread_ts="1.1")
    pages = [page["messages"] for page in web.conversations_replies(channel=CHANNEL, ts="1.1", limit=2)]
    assert [[item["text"] for item in page] for page in pages] == [
        ["0", "1", "2"],
        ["0", "3", "4"],
        ["0", "5"],
    ]
    later = web.conversations_replies(channel=CHANNEL, ts="1.1", oldest="3.2")["messages"]
    assert [item["text"] for item in later] == ["0", "4", "5"]


def test_forms_and_json_are_the_same(slack: SlackSandbox) -> None:
    """A call may be JSON or a form, with the token in its header or a field."""
    header = {"Authorization": f"Bearer {slack.token}"}
    blocks = '[{"type": "divider"}]'
    fields = {"channel": CHANNEL, "text": "hi"}
    url = f"{slack.api_url}chat.postMessage"
    for options in (
        {"json": {**fields, "blocks": [{"type": "divider"}]}, "headers": header},
        {"data": {**fields, "blocks": blocks}, "headers": header},
        {"data": {**fields, "blocks": blocks, "token": slack.token}},
    ):
        assert httpx.post(url, **options).json()["ok"] is True
    assert [item.blocks for item in slack.messages] == [({"type": "divider"},)] * 3


def test_errors_have_slacks_names(slack: SlackSandbox, web: WebClient) -> None:
    """Errors have Slack's own names."""
    user_message = slack.workspace.add(CHANNEL, "U0456", "mine", ts="1.1")
    posted = web.chat_postMessage(channel=CHANNEL, text="ours")["ts"]
    web.reactions_add(channel=CHANNEL, timestamp=posted, name="eyes")
    assert error_of(new_client(slack, token="xoxb-wrong").auth_test) == "invalid_auth"
    assert error_of(new_client(slack, token=None).auth_test) == "not_authed"
    assert error_of(web.chat_postMessage, channel="general", text="x") == "channel_not_found"
    assert error_of(web.api_call, api_method="chat.postMessage", json={"channel": CHANNEL}) == "no_text"
    assert error_of(web.chat_update, channel=CHANNEL, ts="9.9", text="x") == "message_not_found"
    assert error_of(web.chat_update, channel=CHANNEL, ts=user_message.ts, text="x") == "cant_update_message"
    assert error_of(web.reactions_add, channel=CHANNEL, timestamp=posted, name="eyes") == "already_reacted"
    assert error_of(web.users_info, user="nobody") == "user_not_found"
    assert error_of(web.api_call, api_method="chat.frobnicate") == "unknown_method"


def test_channels_may_be_limited() -> None:
    """A sandbox with given channels knows no other."""
    with SlackSandbox(channels=["C0AAA"]) as slack:
        web = new_client(slack)
        web.chat_postMessage(channel="C0AAA", text="x")
        assert error_of(web.chat_postMessage, channel=CHANNEL, text="x") == "channel_not_found"


def test_faults_come_first_in_first_out(slack: SlackSandbox, web: WebClient) -> None:
    """Faults meet the calls of their method one by one, in order, and then calls succeed."""
    slack.fail("chat.postMessage", Refused("msg_too_long"), RateLimited(7))
    web.auth_test()
    assert error_of(web.chat_postMessage, channel=CHANNEL, text="x") == "msg_too_long"
    with pytest.raises(SlackApiError) as caught:
        web.chat_postMessage(channel=CHANNEL, text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "7"
    web.chat_postMessage(channel=CHANNEL, text="x")
    assert len(slack.messages) == 1


@pytest.mark.parametrize(("committed", "kept"), [(True, 1), (False, 0)])
def test_a_dropped_connection_may_have_done_its_work(
    committed: bool, kept: int, slack: SlackSandbox, web: WebClient
) -> None:
    """A call whose connection is dropped looks the same whether or not the message was posted."""
    slack.fail("chat.postMessage", Dropped(committed))
    with pytest.raises(OSError, match=r"without response|reset"):
        web.chat_postMessage(channel=CHANNEL, text="x")
    assert len(slack.messages) == kept
    assert len(slack.calls("chat.postMessage")) == 1


def test_a_call_may_hang(slack: SlackSandbox) -> None:
    """A call may hang longer than the client's time-out, and stopping the sandbox does not wait for it."""
    slack.fail("auth.test", Hangs(60))
    with pytest.raises(TimeoutError):
        new_client(slack, timeout=1).auth_test()
    started = time.monotonic()
    slack.stop()
    assert time.monotonic() - started < 5


def test_a_429_is_over_when_its_time_is(slack: SlackSandbox) -> None:
    """A rate limit ends after its Retry-After, so the SDK's handler succeeds."""
    slack.fail("auth.test", RateLimited(1))
    web = new_client(slack, retry_handlers=[RateLimitErrorRetryHandler()])
    assert web.auth_test()["ok"] is True
    assert len(slack.calls("auth.test")) == 2


def test_response_urls_keep_what_they_are_told(slack: SlackSandbox) -> None:
    """A response URL records its texts, and its faults are planned under RESPONSE_URL."""
    url = slack.new_response_url()
    assert httpx.post(url, json={"text": "hi"}).text == "ok"
    slack.fail(RESPONSE_URL, Refused("expired_url"), Dropped())
    assert httpx.post(url, json={"text": "again"}).status_code == 404
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, json={"text": "third"})
    assert [item["text"] for item in slack.responses] == ["hi", "again", "third"]

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

from sandbox.faults import CutOff, Dropped, Hangs, RateLimited, Refused
from sandbox.slack.changes import ChangeLog
from sandbox.slack.messages import SlackFile
from sandbox.slack.requests import BOT_USER_ID, slash_command
from sandbox.slack.response_urls import Place
from sandbox.slack.scopes import SCOPES
from sandbox.slack.server import FILES, RESPONSE_URL, SlackSandbox

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


def test_an_answer_to_a_response_url_appears_where_it_was_given_out(slack: SlackSandbox) -> None:
    """A response URL with a place shows its answers there, to one person or to all, five times."""
    button = slack.workspace.call(
        "chat.postMessage", {"channel": CHANNEL, "text": "press", "thread_ts": "1.1"}
    )
    url = slack.new_response_url(Place(CHANNEL, "U0456", "1.1", button["ts"]))
    httpx.post(url, json={"text": "for you"})
    httpx.post(url, json={"text": "for all", "response_type": "in_channel"})
    httpx.post(url, json={"text": "pressed", "replace_original": True})
    seen = [(item.text, item.only_for, item.thread_ts) for item in slack.messages]
    assert seen == [("pressed", None, "1.1"), ("for you", "U0456", "1.1"), ("for all", None, "1.1")]
    httpx.post(url, json={"delete_original": True})
    assert [item.text for item in slack.messages] == ["for you", "for all"]
    assert httpx.post(url, json={"text": "5"}).status_code == 200
    assert httpx.post(url, json={"text": "6"}).json()["error"] == "used_url"


def test_a_view_is_replaced_by_its_hash(web: WebClient) -> None:
    """A view is replaced under its id; the hash of an older one is refused, and so is an unknown id."""
    block = {"type": "section", "block_id": "a", "text": {"type": "mrkdwn", "text": "One moment …"}}
    first = web.views_open(trigger_id="1.2", view={"type": "modal", "blocks": [block]})["view"]
    asked = {"type": "input", "block_id": "b", "element": {"type": "plain_text_input", "action_id": "x"}}
    view = {"type": "modal", "submit": {"type": "plain_text", "text": "Send"}, "blocks": [asked]}
    second = web.views_update(view_id=first["id"], hash=first["hash"], view=view)["view"]
    assert (second["id"], second["blocks"]) == (first["id"], [asked])
    old = {"view_id": first["id"], "hash": first["hash"], "view": view}
    assert error_of(web.views_update, **old) == "hash_conflict"
    assert error_of(web.views_update, **{**old, "view_id": "V0NONE"}) == "not_found"
    del view["submit"]
    assert error_of(web.views_update, view_id=first["id"], view=view) == "invalid_arguments"


@pytest.mark.parametrize(
    "view",
    [
        {"type": "modal", "title": {"type": "plain_text", "text": "x" * 25}},
        {"type": "modal", "blocks": [{"type": "divider"}] * 101},
        {"type": "modal", "private_metadata": "x" * 3001},
        {"type": "modal", "blocks": [{"type": "divider", "block_id": "a"}] * 2},
        {"type": "modal", "blocks": [{"type": "section", "accessory": {"options": []}}]},
    ],
)
def test_a_view_that_slack_refuses_is_refused(web: WebClient, view: dict[str, Any]) -> None:
    """A view beyond Slack's limits is not opened."""
    assert error_of(web.views_open, trigger_id="1.2", view=view) == "invalid_arguments"


def test_a_trigger_may_have_an_end(slack: SlackSandbox, web: WebClient) -> None:
    """With a lifetime set, a trigger opens one view, and none after its time."""
    slack.workspace.modals.trigger_seconds = 3
    fresh = slash_command("", CHANNEL, "U0456")["trigger_id"]
    web.views_open(trigger_id=fresh, view={"type": "modal"})
    assert error_of(web.views_open, trigger_id=fresh, view={"type": "modal"}) == "exchanged_trigger_id"
    made, _, rest = fresh.partition(".")
    old = f"{int(made) - 4_000_000_000}.{rest}"
    assert error_of(web.views_open, trigger_id=old, view={"type": "modal"}) == "expired_trigger_id"


def test_a_file_is_sent_to_the_bot_alone(slack: SlackSandbox, web: WebClient) -> None:
    """A download without a valid token is a page to sign in, with status 200, as Slack sends it."""
    file = SlackFile("F0123", "log.txt", b"it broke", "text/plain")
    slack.workspace.add(CHANNEL, "U0456", "see", ts="1.1", files=[file])
    (message,) = web.conversations_replies(channel=CHANNEL, ts="1.1")["messages"]
    (told,) = message["files"]
    assert (told["name"], told["size"], told["mimetype"]) == ("log.txt", 8, "text/plain")
    good = {"Authorization": f"Bearer {slack.token}"}
    assert httpx.get(told["url_private"], headers=good).content == b"it broke"
    for headers in ({}, {"Authorization": "Bearer xoxb-wrong"}):
        page = httpx.get(told["url_private"], headers=headers)
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    slack.fail(FILES, Dropped(), CutOff())
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(told["url_private_download"], headers=good)
    assert httpx.get(told["url_private_download"], headers=good).content == b"it b"
    assert len(slack.calls(FILES)) == 5
    assert web.files_info(file="F0123")["file"]["id"] == "F0123"


@pytest.mark.parametrize(
    ("method", "arguments", "needed"),
    [
        ("users.info", {"user": "U0456"}, "users:read"),
        ("bots.info", {"bot": "B0SANDBOX"}, "users:read"),
        ("usergroups.list", {"include_users": "true"}, "usergroups:read"),
        ("usergroups.users.list", {"usergroup": "S0123"}, "usergroups:read"),
        ("conversations.info", {"channel": CHANNEL}, "channels:read"),
        ("conversations.info", {"channel": "G0123"}, "groups:read"),
        ("conversations.replies", {"channel": "G0123", "ts": "1.1"}, "groups:history"),
        ("conversations.history", {"channel": CHANNEL}, "channels:history"),
        ("chat.postMessage", {"channel": CHANNEL, "text": "x"}, "chat:write"),
        ("files.info", {"file": "F0123"}, "files:read"),
    ],
)
def test_a_missing_scope_is_named(
    slack: SlackSandbox, web: WebClient, method: str, arguments: dict[str, str], needed: str
) -> None:
    """A method whose scope the token lacks is refused and names it; scopes go by the kind of channel."""
    slack.scopes = tuple(scope for scope in SCOPES if scope != needed)
    with pytest.raises(SlackApiError) as caught:
        web.api_call(method, params=arguments)
    answer = caught.value.response
    assert (answer["error"], answer["needed"]) == ("missing_scope", needed)


def test_an_address_is_told_with_its_scope(slack: SlackSandbox, web: WebClient) -> None:
    """A person's e-mail address is in users.info with ``users:read.email`` alone; members are as given."""
    slack.workspace.people["U0GUEST"] = {"is_ultra_restricted": True, "team_id": "T0OTHER"}
    guest = web.users_info(user="U0GUEST")["user"]
    assert (guest["is_ultra_restricted"], guest["is_restricted"], guest["team_id"]) == (
        True,
        False,
        "T0OTHER",
    )
    assert guest["profile"]["email"] == "u0guest@example.com"
    slack.workspace.people["U0GUEST"] = {"profile": {"email": "guest@example.org"}}
    assert web.users_info(user="U0GUEST")["user"]["profile"]["email"] == "guest@example.org"
    slack.scopes = ("users:read",)
    assert "email" not in web.users_info(user="U0GUEST")["user"]["profile"]


def test_groups_and_channels_are_listed(slack: SlackSandbox, web: WebClient) -> None:
    """User groups have their users; channels come in pages, private ones on request."""
    slack.workspace.groups["S0HELP"] = ["U0456"]
    assert web.usergroups_users_list(usergroup="S0HELP")["users"] == ["U0456"]
    (group,) = web.usergroups_list()["usergroups"]
    assert (group["id"], group["handle"]) == ("S0HELP", "s0help")
    assert not {"users", "user_count"} & set(group)
    (group,) = web.usergroups_list(include_users=True, include_count=True)["usergroups"]
    assert (group["users"], group["user_count"]) == (["U0456"], 1)
    assert error_of(web.usergroups_users_list, usergroup="S0NONE") == "no_such_subteam"
    slack.workspace.channels = ["C0A", "C0B", "G0C"]
    slack.workspace.channel_facts["C0B"] = {"name": "billing", "is_archived": True}
    page = web.conversations_list(limit=1)
    assert [channel["id"] for channel in page["channels"]] == ["C0A"]
    page = web.conversations_list(limit=1, cursor=page["response_metadata"]["next_cursor"])
    assert [channel["name"] for channel in page["channels"]] == ["billing"]
    assert page["response_metadata"]["next_cursor"] == ""
    both = web.conversations_list(types="public_channel,private_channel", exclude_archived=True)
    assert [channel["id"] for channel in both["channels"]] == ["C0A", "G0C"]


def test_a_channels_history_has_no_replies(slack: SlackSandbox, web: WebClient) -> None:
    """A channel's history comes newest first, in pages, without what was written inside threads."""
    for number in range(1, 4):
        slack.workspace.add(CHANNEL, "U0456", str(number), ts=f"{number}.1")
        slack.workspace.add(CHANNEL, "U0456", "reply", ts=f"{number}.2", thread_ts=f"{number}.1")
    page = web.conversations_history(channel=CHANNEL, limit=2)
    assert [item["text"] for item in page["messages"]] == ["3", "2"]
    rest = web.conversations_history(channel=CHANNEL, cursor=page["response_metadata"]["next_cursor"])
    assert [item["text"] for item in rest["messages"]] == ["1"]
    between = web.conversations_history(channel=CHANNEL, oldest="1.1", latest="3.1")
    assert [item["text"] for item in between["messages"]] == ["2"]
    assert error_of(web.conversations_history, channel=CHANNEL, limit=1000) == "invalid_limit"


def test_a_deleted_message_has_no_link(slack: SlackSandbox, web: WebClient) -> None:
    """A message that was deleted has no permalink any more."""
    slack.workspace.add(CHANNEL, "U0456", "x", ts="1.1")
    assert web.chat_getPermalink(channel=CHANNEL, message_ts="1.1")["permalink"].endswith("/p11")
    slack.workspace.delete(CHANNEL, "1.1")
    assert error_of(web.chat_getPermalink, channel=CHANNEL, message_ts="1.1") == "message_not_found"


def test_changes_are_counted(slack: SlackSandbox, web: WebClient) -> None:
    """Each change of a message or a view is in the feed once, in order, with all that a page shows."""
    told: list[int] = []
    end = slack.workspace.changes.listen(lambda: told.append(slack.workspace.changes.last))
    posted = web.chat_postMessage(channel=CHANNEL, text="one")
    web.chat_update(channel=CHANNEL, ts=posted["ts"], text="two")
    web.chat_postEphemeral(channel=CHANNEL, user="U0456", text="psst")
    web.views_open(trigger_id="1.2", view={"type": "modal"})
    slack.workspace.delete(CHANNEL, posted["ts"])
    end()
    web.chat_postMessage(channel=CHANNEL, text="unheard")
    changes = slack.workspace.changes.after(0) or []
    seen = [(item.number, item.kind, item.data.get("text"), item.data.get("only_for")) for item in changes]
    assert seen == [
        (1, "message", "one", None),
        (2, "message", "two", None),
        (3, "message", "psst", "U0456"),
        (4, "view", None, None),
        (5, "message", "two", None),
        (6, "message", "unheard", None),
    ]
    assert changes[4].data["is_deleted"] is True
    assert told == [1, 2, 3, 4, 5]
    assert slack.workspace.snapshot()[0] == 6


def test_what_is_not_kept_must_be_read_anew() -> None:
    """A reader who is further behind than the log keeps, or ahead of it, is told to begin again."""
    log = ChangeLog(most=2)
    for number in range(4):
        log.add("x", number)
    assert [change.data for change in log.after(2) or []] == [2, 3]
    assert (log.after(4), log.after(1), log.after(5)) == ([], None, None)


def test_a_slack_that_is_away_answers_nothing(slack: SlackSandbox) -> None:
    """While the sandbox is down each call ends without a response and without an effect."""
    url = slack.new_response_url(Place(CHANNEL, "U0456"))
    slack.is_down = True
    for address in (f"{slack.api_url}auth.test", url):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(address, json={"token": slack.token, "text": "x"})
    slack.is_down = False
    assert slack.messages == ()
    assert httpx.post(url, json={"text": "x"}).status_code == 200

"""Address that opens a Slack thread in any workspace."""

from __future__ import annotations

from urllib.parse import urlencode


def link_to_thread(channel_id: str, thread_ts: str) -> str:
    """Return an address that Slack redirects to the message: https://docs.slack.dev/interactivity/deep-linking/."""
    return f"https://slack.com/app_redirect?{urlencode({'channel': channel_id, 'message_ts': thread_ts})}"

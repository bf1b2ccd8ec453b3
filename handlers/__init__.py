"""The web process: Slack's requests in, replies out."""

import os
import pwd

from threadsync.extras import need_extra


def _have_a_home() -> None:
    """Give the process a home folder, as container runtimes do: importing slack_sdk needs one.

    A user without an entry in passwd and without HOME has none.
    """
    if not os.environ.get("HOME"):
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            os.environ["HOME"] = "/"


_have_a_home()
need_extra("slack", "slack_bolt", "aiohttp", "starlette", "uvicorn")

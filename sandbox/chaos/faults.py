"""Draw the faults that Jira and Slack meet during a storm."""

from __future__ import annotations

import random
from typing import Any, Final

from sandbox.faults import CutOff, Dropped, Hangs, Page, RateLimited
from sandbox.faults import Fault as SlackFault
from sandbox.jira.faults import (
    BURST,
    GLOBAL_QUOTA,
    CommitLate,
    CommitThenDrop,
    CommitThenStatus,
    DropBeforeCommit,
    Fault,
    Hang,
    HtmlRefusal,
    NotJson,
    Redirect,
    Refuse,
    Slow,
    Status,
    StripLabel,
    Throttle,
    Truncated,
)
from sandbox.slack.transport import FILES

LATEST_COMMIT: Final = 240
_WRITES: Final = ("comment", "attachment", "remotelink", "property")


class Faults:
    """Plans of faults for Jira and for Slack, by one generator of random numbers."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def of_jira(self, endpoint: str, body: Any) -> Fault | None:
        """Return the fault of a call: of most creates, of half of the other writes, of few others."""
        draw, writes = self._draw, endpoint in _WRITES and bool(body)
        share = 0.85 if endpoint == "create" else 0.5 if writes else 0.15
        if draw.random() > share:
            return None
        # What follows a ticket is given up for good after a refusal that no fault of Jira's explains.
        refusals = (401, 403, 404, 422) if endpoint in ("create", "search", "bulkfetch") else (401, 403)
        faults: list[Fault] = [
            DropBeforeCommit(),
            Status(draw.choice((500, 502, 503, 504))),
            Hang(60, committed=False),
            Throttle(draw.choice((None, 1, 30)), draw.choice((BURST, GLOBAL_QUOTA))),
            HtmlRefusal(draw.choice((400, 403))),
            Redirect(),
            Refuse(draw.choice(refusals), ("no",)),
            Slow(draw.uniform(0, 4)),
        ]
        if (endpoint == "create" or writes) and draw.random() < 0.8:
            faults = [
                CommitThenDrop(),
                CommitThenStatus(draw.choice((500, 503, 504))),
                CommitLate(draw.uniform(1, LATEST_COMMIT), draw.choice(("drop", "status", "hang"))),
                Hang(60, committed=True),
                Truncated(),
                NotJson(),
            ]
            if endpoint == "create":
                faults += [StripLabel(), Refuse(400, ("Summary is not to my taste",))]
        return draw.choice(faults)

    def of_slack(self, method: str) -> SlackFault | None:
        """Return the fault of a call to Slack; of few calls there is one."""
        draw = self._draw
        if draw.random() > 0.15:
            return None
        faults: list[SlackFault] = [
            RateLimited(draw.choice((1, 30))),
            Dropped(committed=draw.random() < 0.5),
            Hangs(draw.choice((1, 40))),
            Page(draw.choice((500, 502, 503))),
        ]
        # A file that stays cut off is believed to be so.
        return draw.choice(faults if method == FILES else [*faults, CutOff()])

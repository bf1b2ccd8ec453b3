"""Write a name that a person chose on one line, so that it cannot change the text around it. Pure."""

from __future__ import annotations

import re
from typing import Final

from worker.text.slack_text import cleaned

LONGEST_NAME: Final = 100

# Marks, embeddings, overrides and isolates, which turn the text that follows them around.
_BIDI: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def person_name(name: str | None, otherwise: str) -> str:
    """Return the name in at most ``LONGEST_NAME`` characters; ``otherwise`` where nothing of it is left.

    White space becomes single spaces; control characters, and those that change the direction of text, go.
    """
    line = " ".join((name or "").split())
    shown = " ".join(_BIDI.sub("", _CONTROL.sub("", cleaned(line))).split())
    if len(shown) > LONGEST_NAME:
        shown = shown[: LONGEST_NAME - 1].rstrip() + "…"
    return shown or otherwise

"""Content of a status message or a reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """``text`` is mrkdwn, and what notifications show; ``blocks`` say the same, and have the button.

    ``lasts``: nothing else will be said by itself, so it is worth a message of its own.
    """

    text: str
    blocks: tuple[Mapping[str, Any], ...]
    lasts: bool = True

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits: the same for messages that look the same."""
        return hashlib.sha256(json.dumps([self.text, self.blocks], sort_keys=True).encode()).hexdigest()

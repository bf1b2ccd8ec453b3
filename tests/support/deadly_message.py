"""A message that kills the process which decodes it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

DEADLY = "application/x-deadly-with-diary"
"""As tests/support/probe_tasks.py registers it in workers."""


ID = "deadly-1"
TAG = "tag-of-the-deadly-one"


def deadly(diary: Path) -> str:
    """A message that ends what opens it, as kombu writes one."""
    properties = {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "sessions"},
        "delivery_tag": TAG,
    }
    parts: dict[str, Any] = {
        "body": base64.b64encode(str(diary).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "sessions.get", "id": ID, "compression": DEADLY},
        "properties": properties,
    }
    return json.dumps(parts)

"""Settings of Valkey that lose less when power or a server fails, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis

from benchmarks.entries import BASELINE, OURS, Entry
from benchmarks.replicas import replica_of
from benchmarks.stage import Installation, Stage


@dataclass(frozen=True)
class Variant:
    """A contender with settings of its own: one without any is what the others are compared with.

    ``always``: each write is on disk before it is answered. ``replica``: a second Valkey has a copy of all.
    ``wait_replicas``: our client's ``BROKER_WAIT_REPLICAS``.
    """

    entry: Entry
    said: str = ""
    always: bool = False
    replica: bool = False
    wait_replicas: int = 0

    @property
    def name(self) -> str:
        """Name of the variant's runs in the record."""
        suffix = f"-always{self.always:d}-replica{self.replica:d}-wait{self.wait_replicas}"
        return f"{self.entry.name}{suffix if self.said else ''}"

    @property
    def title(self) -> str:
        """Title of the variant in the report."""
        return f"{self.entry.title}, {self.said}" if self.said else self.entry.title


_ALWAYS: Final = "`appendfsync always`"
VARIANTS: Final = (
    Variant(OURS),
    Variant(OURS, _ALWAYS, always=True),
    Variant(OURS, "a replica", replica=True),
    Variant(OURS, "a replica, `BROKER_WAIT_REPLICAS=1`", replica=True, wait_replicas=1),
    Variant(BASELINE),
    Variant(BASELINE, _ALWAYS, always=True),
)


@contextmanager
def staged(variant: Variant, stage: Stage, folder: Path) -> Iterator[Installation]:
    """Make an installation with the variant's settings, which end with the block."""
    installation = replace(stage.fresh(), wait_replicas=variant.wait_replicas)
    with ExitStack() as stack:
        if variant.always:
            stack.enter_context(_appending_always(stage))
        if variant.replica:
            stack.enter_context(replica_of(stage.valkey, folder / "replica", stage.valkey_settings))
        yield installation


@contextmanager
def _appending_always(stage: Stage) -> Iterator[None]:
    with redis.Redis.from_url(stage.valkey.url) as client:
        client.config_set("appendfsync", "always")
        try:
            yield
        finally:
            client.config_set("appendfsync", stage.valkey_settings["appendfsync"])

"""Record of a benchmark, as it is written to JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

IMPORT: Final = "import"
WEB: Final = "web-process"
WEB_BEFORE: Final = "web-process-before"
"""Names of what is measured beside queues: the bulk import, and a web process of now and of before."""

HALF: Final = "half"
BASELINE_HALF: Final = "baseline_half"
"""Names of the rates at half of what the contender managed, and at half of what the baseline managed."""


@dataclass
class Run:
    """One run of one contender.

    ``scene`` is ``round``, ``sending``, ``web``, ``table``, ``mutated``, ``backlog`` or ``safety``. ``fault``
    says why the figures must not be used: work was lost or not done. ``others`` is the share of the machine's
    time that went to processes not of this benchmark, and to its host.
    """

    scene: str
    round: int
    contender: str
    figures: dict[str, float] = field(default_factory=dict)
    fault: str | None = None
    others: float = 0.0


@dataclass
class Record:
    """The record of a whole benchmark."""

    made_at: str
    plan: dict[str, Any]
    machine: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def figures(self, scene: str, contender: str, name: str) -> dict[int, float]:
        """Return a figure by round, of runs without a fault."""
        return {
            run.round: run.figures[name]
            for run in self._runs(scene, contender)
            if run.fault is None and name in run.figures
        }

    def faults(self, scene: str, contender: str) -> list[str]:
        """Return the faults of this contender's runs, which do not count."""
        return [run.fault for run in self._runs(scene, contender) if run.fault is not None]

    def contenders(self, scene: str) -> list[str]:
        """Return the contenders that ran, in the order of the first round."""
        return list(dict.fromkeys(run.contender for run in self.runs if run.scene == scene))

    def write(self, path: Path) -> None:
        """Write the record as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def _runs(self, scene: str, contender: str) -> Iterator[Run]:
        return (run for run in self.runs if (run.scene, run.contender) == (scene, contender))


def read(path: Path) -> Record:
    """Read a record that ``Record.write`` has written."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Record(**{**values, "runs": [Run(**run) for run in values["runs"]]})

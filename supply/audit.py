"""Ask an advisory service about every locked version: ``make audit``.

Exit code 0: each version was asked about, and none has a known hole. 1: holes are known. 2: not all could be
asked about. Offline none can: advisories are on the network, and in no mirror of a package index.

Further arguments go to pip-audit: ``make audit AUDIT="--vulnerability-service osv"``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from supply.locks import LOCKS, locks

AUDITED: Final = ("dev", *(lock.name for lock in locks() if lock.apart))
"""Lock files to audit, which hold each version of the others too."""


@dataclass
class Findings:
    """Result of auditing one lock file; ``failure`` has the message of an audit without any result."""

    asked: int = 0
    holes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def exit_code(self) -> int:
        if self.holes:
            return 1
        return 2 if self.failure or self.unknown or not self.asked else 0


def audit(lock: Path, arguments: Sequence[str]) -> Findings:
    """Run pip-audit on a lock file as it is, without resolving or installing anything."""
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "pip-audit"), "--requirement", str(lock)),
            *(
                "--require-hashes",
                "--disable-pip",
                "--format",
                "json",
                "--progress-spinner",
                "off",
                *arguments,
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return findings(json.loads(done.stdout))
    except ValueError:
        return Findings(failure=(done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])


def findings(report: dict[str, Any]) -> Findings:
    """Read pip-audit's report, which reports a version that the service does not know as skipped."""
    found = Findings()
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            found.unknown.append(dependency["name"])
            continue
        found.asked += 1
        found.holes += [
            f"{dependency['name']} {dependency['version']}: {hole['id']}, "
            f"mended in {', '.join(hole['fix_versions']) or 'no version'}"
            for hole in dependency["vulns"]
        ]
    return found


def describe(lock: str, found: Findings) -> str:
    """Describe findings as lines to read, the worst first."""
    lines = [f"locks/{lock}.txt: {hole}" for hole in found.holes]
    if found.failure:
        lines.append(
            f"locks/{lock}.txt: NOT AUDITED, the advisory service cannot be asked from here: {found.failure}"
        )
    if found.unknown:
        lines.append(
            f"locks/{lock}.txt: NOT AUDITED, the advisory service does not know {len(found.unknown)} "
            f"versions, {found.unknown[0]} for one (a mirror of a package index has no advisories)"
        )
    if found.asked:
        lines.append(f"locks/{lock}.txt: {found.asked} versions audited, {len(found.holes)} known holes")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Audit all locked versions; return the exit code."""
    codes = []
    for lock in AUDITED:
        found = audit(LOCKS / f"{lock}.txt", arguments)
        sys.stdout.write(describe(lock, found))
        codes.append(found.exit_code)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

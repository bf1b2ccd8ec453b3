"""Write the image's bill of materials, CycloneDX 1.6, from its lock file: ``make sbom``. Asks no network.

Python packages only: what Debian's packages in the base image are, a scanner of images says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from supply.locks import LOCKS, ROOT, project, without_other_platforms

LOCK: Final = LOCKS / "image.txt"


def bill(lock: Path, output: Path) -> None:
    """Write the packages of a lock file that Linux installs, with their hashes, by CycloneDX's schema."""
    subprocess.run(
        [
            # It warns that a lock file does not say which package needs which.
            *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "-"),
            *("--pyproject", str(ROOT / "pyproject.toml"), "--spec-version", "1.6", "--output-reproducible"),
            *("--output-format", "JSON", "--validate", "--output-file", str(output)),
        ],
        input=without_other_platforms(lock.read_text(encoding="utf-8")),
        text=True,
        check=True,
    )


if __name__ == "__main__":
    to = ROOT / "dist" / f"threadsync-{project()['project']['version']}.cdx.json"
    to.parent.mkdir(exist_ok=True)
    bill(LOCK, to)
    sys.stdout.write(f"{to.relative_to(ROOT)}\n")

"""Write page and pictures again: ``python -m benchmarks.report docs/benchmarks/latest.json``."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.record import read
from benchmarks.report import write_report


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        write_report(read(path), path.parent, path.stem)


if __name__ == "__main__":
    main()

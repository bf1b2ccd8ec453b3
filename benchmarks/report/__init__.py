"""Report of a benchmark: raw numbers, a page, pictures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.record import Record
from benchmarks.report.chart import charts
from benchmarks.report.page import page


def write_report(record: Record, folder: Path, name: str) -> list[Path]:
    """Write ``name.json``, ``name.md`` and the pictures; return the files."""
    pictures = {f"{name}-{subject}.svg": text for subject, text in charts(record).items()}
    texts = {f"{name}.md": page(record, list(pictures)), **pictures}
    written = [folder / f"{name}.json"]
    record.write(written[0])
    for file, text in texts.items():
        path = folder / file
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written

"""Bar charts as SVG, drawn by hand: readable on a light and on a dark page, without a script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.entries import BASELINE, OURS, OURS_BY_STOCK_CLIENT
from benchmarks.figures import Spread
from benchmarks.limits import LIMITS
from benchmarks.record import IMPORT, Record
from benchmarks.report.comparison import TITLES, compare

_LABELS: Final = 290
_BARS: Final = 460
_WIDTH: Final = _LABELS + _BARS + 70
_ROW: Final = 30
_HEAD: Final = 74
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e }
.grid { stroke: #d1d9e0 }
.bar { fill: #8c959f }
.ours { fill: #1a7f37 }
.baseline { fill: #0969da }
.whisker { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .bar { fill: #656c76 }
  .ours { fill: #3fb950 }
  .baseline { fill: #4493f8 }
  .whisker { stroke: #f0f6fc }
}
"""


@dataclass(frozen=True)
class Bar:
    """A bar of a chart; ``kind`` is ``ours``, ``baseline`` or ``other``."""

    label: str
    spread: Spread
    kind: str = "other"


def charts(record: Record) -> dict[str, str]:
    """Draw the charts, by subject, of all that was measured."""
    bars = {
        "processing": (
            "Processing a backlog, to a Celery task that does nothing",
            "more is better",
            _bars(record, "process_rate", best_first=-1),
        ),
        "latency": (
            "Sent until the result is there, p99 at 100/s, to a Celery task that does nothing",
            "less is better",
            _bars(record, "p99_ms_at_100", best_first=1),
        ),
    }
    return {subject: bar_chart(*chart) for subject, chart in bars.items() if chart[2]}


def bar_chart(title: str, note: str, bars: Sequence[Bar]) -> str:
    """Draw horizontal bars from zero to the median, with a whisker from the lowest to the highest round."""
    step = _step(max(bar.spread.high for bar in bars))
    most = step * math.ceil(max(bar.spread.high for bar in bars) / step)
    height = _HEAD + _ROW * len(bars) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="10" y="22">{escape(title)}</text>',
        f'<text class="quiet" x="10" y="42">median, lowest and highest of all rounds; {escape(note)}</text>',
        *_grid(step, most, height),
    ]
    for place, bar in enumerate(bars):
        lines += _row(bar, _HEAD + _ROW * place, most)
    return "\n".join([*lines, "</svg>", ""])


def _bars(record: Record, figure: str, best_first: int) -> list[Bar]:
    kinds = {OURS.name: "ours", OURS_BY_STOCK_CLIENT.name: "ours", BASELINE.name: "baseline"}
    found = []
    for name in record.contenders("round"):
        spread = compare(record, name, figure)
        # The limits of psycopg are no queue, and would dwarf the others.
        if spread and name not in (*LIMITS, IMPORT):
            found.append(Bar(TITLES[name], spread, kinds.get(name, "other")))
    return sorted(found, key=lambda bar: best_first * bar.spread.median)


def _grid(step: float, most: float, height: int) -> Iterator[str]:
    for number in range(round(most / step) + 1):
        x = _x(number * step, most)
        yield f'<line class="grid" x1="{x:.1f}" y1="{_HEAD - 4}" x2="{x:.1f}" y2="{height - 10}"/>'
        yield f'<text class="quiet" x="{x:.1f}" y="{_HEAD - 8}" text-anchor="middle">{number * step:g}</text>'


def _row(bar: Bar, top: int, most: float) -> Iterator[str]:
    left, right = _x(bar.spread.low, most), _x(bar.spread.high, most)
    middle, end = top + _ROW / 2, _x(bar.spread.median, most)
    yield f'<text x="{_LABELS - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.label)}</text>'
    yield (
        f'<rect class="bar {bar.kind}" x="{_LABELS}" y="{top + 6}" width="{end - _LABELS:.1f}" '
        f'height="{_ROW - 12}" rx="2"/>'
    )
    if right > left:
        yield f'<line class="whisker" x1="{left:.1f}" y1="{middle:.1f}" x2="{right:.1f}" y2="{middle:.1f}"/>'
        for x in (left, right):
            yield f'<path class="whisker" d="M{x:.1f} {middle - 4:.1f}v8"/>'
    yield f'<text x="{max(right, end) + 7:.1f}" y="{middle + 4:.1f}">{bar.spread.median:.2f}</text>'


def _x(value: float, most: float) -> float:
    return _LABELS + _BARS * value / most


def _step(most: float) -> float:
    """Return a round number of which four to ten make up ``most``."""
    power: float = 10 ** math.floor(math.log10(most))
    return next(power * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if most / (power * part) <= 10)

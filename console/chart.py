"""Draw charts as SVG, without scripts or inline styles: colours come from the style sheet, by class. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final, Literal
from xml.etree import ElementTree

from worker.db.overview.store import Series

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 12, 28
_TICKS: Final = 4
_LABELS: Final = 6
_HIGHEST: Final = 1e15


@dataclass(frozen=True)
class Span:
    """A time span that ends now, divided into buckets."""

    name: str
    seconds: int
    bucket: int

    def buckets(self, now: datetime) -> list[datetime]:
        """Return the start of each bucket, oldest first, as ``date_bin`` computes them from the year 2000."""
        epoch = datetime(2000, 1, 1, tzinfo=UTC)
        size = timedelta(seconds=self.bucket)
        last = epoch + (now - epoch) // size * size
        count = self.seconds // self.bucket
        return [last - size * back for back in reversed(range(count + 1))]


SPANS: Final = {
    "1h": Span("the last hour", 3_600, 60),
    "24h": Span("the last 24 hours", 86_400, 1_800),
    "7d": Span("the last 7 days", 604_800, 10_800),
}


@dataclass(frozen=True)
class Chart:
    """A drawn chart, and the same numbers for a table.

    ``names`` come with their colours' numbers. ``rows`` holds the buckets that are not empty: the start,
    then a number for each name.
    """

    title: str
    svg: str
    names: tuple[tuple[str, int], ...]
    rows: tuple[tuple[datetime, tuple[float, ...]], ...]


def chart(
    title: str,
    series: Series,
    colours: Mapping[str, int],
    span: Span,
    now: datetime,
    *,
    kind: Literal["bars", "lines"] = "bars",
    unit: str = "",
) -> Chart:
    """Draw stacked bars of counts, or lines.

    Args:
        colours: the names in ``series`` to draw, in this order, each with its number in the style sheet.
        unit: shown at the axis, such as ``s``.
    """
    buckets = span.buckets(now)
    columns = {name: [_finite(series.get(name, {}).get(at, 0.0)) for at in buckets] for name in colours}
    sums = [sum(values) for values in zip(*columns.values(), strict=True)]
    highest = max(sums if kind == "bars" else [max(values) for values in columns.values()], default=0)
    known = {name: [at in series.get(name, {}) for at in buckets] for name in colours}
    top = nice_top(highest)
    root = ElementTree.Element(
        "svg", {"class": "chart", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": title}
    )
    ElementTree.SubElement(root, "title").text = title
    described = ", ".join(f"{name}: {_number(sum(values))}" for name, values in columns.items())
    most = f"at most {_number(highest)}{unit}"
    ElementTree.SubElement(root, "desc").text = f"{span.name}; {described if kind == 'bars' else most}"
    _axes(root, top, unit, buckets, span)
    if kind == "bars":
        _bars(root, [(colours[name], values) for name, values in columns.items()], top)
    else:
        for name, numbers in columns.items():
            _line(root, colours[name], numbers, known[name], top)
    rows = tuple(
        (at, values)
        for at, *values_of in zip(buckets, *columns.values(), strict=True)
        if any(values := tuple(values_of))
    )
    return Chart(title, ElementTree.tostring(root, encoding="unicode"), tuple(colours.items()), rows)


def nice_top(highest: float) -> float:
    """Return the end of the axis: 1, 2, 4 or 8 times a power of ten; at least 4."""
    if highest <= _TICKS:
        return float(_TICKS)
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 8, 10, 20) if step * power >= highest)


def _axes(root: ElementTree.Element, top: float, unit: str, buckets: Sequence[datetime], span: Span) -> None:
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        y = _y(value, top)
        line = {"x1": str(_LEFT), "x2": str(WIDTH - _RIGHT), "y1": y, "y2": y, "class": "grid"}
        ElementTree.SubElement(root, "line", line)
        label = {"x": str(_LEFT - 6), "y": y, "class": "tick y"}
        ElementTree.SubElement(root, "text", label).text = f"{_number(value)}{unit}"
    shown = "%d %b" if span.seconds > 86_400 else "%H:%M"
    step = max(1, len(buckets) // _LABELS)
    for index in range(0, len(buckets), step):
        label = {"x": _x(index, len(buckets)), "y": str(HEIGHT - 8), "class": "tick x"}
        ElementTree.SubElement(root, "text", label).text = buckets[index].strftime(shown)


def _bars(root: ElementTree.Element, drawn: Sequence[tuple[int, Sequence[float]]], top: float) -> None:
    count = max((len(values) for _, values in drawn), default=0)
    width = (WIDTH - _LEFT - _RIGHT) / max(1, count)
    below = [0.0] * count
    for colour, values in drawn:
        for index, value in enumerate(values):
            if value:
                bar = {
                    "class": f"series-{colour}",
                    "x": f"{_LEFT + index * width + width * 0.1:.2f}",
                    "width": f"{width * 0.8:.2f}",
                    "y": _y(below[index] + value, top),
                    "height": f"{value / top * (HEIGHT - _TOP - _BOTTOM):.2f}",
                }
                ElementTree.SubElement(root, "rect", bar)
                below[index] += value


def _line(
    root: ElementTree.Element, colour: int, values: Sequence[float], known: Sequence[bool], top: float
) -> None:
    """Draw a line, broken where there are no data: a line at 0 would say that all was well."""
    places = [(index, values[index]) for index, is_known in enumerate(known) if is_known]
    for _, run in groupby(enumerate(places), key=lambda item: item[1][0] - item[0]):
        points = [f"{_x(index, len(values))},{_y(value, top)}" for _, (index, value) in run]
        # A single point is drawn as a dot, by round caps.
        drawn = points if len(points) > 1 else points * 2
        line = {"class": f"line series-{colour}", "points": " ".join(drawn)}
        ElementTree.SubElement(root, "polyline", line)


def _x(index: int, count: int) -> str:
    """Return the middle of a bucket."""
    return f"{_LEFT + (index + 0.5) * (WIDTH - _LEFT - _RIGHT) / max(1, count):.2f}"


def _y(value: float, top: float) -> str:
    return f"{HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM):.2f}"


def _finite(value: float) -> float:
    return min(max(0.0, value), _HIGHEST) if math.isfinite(value) else 0.0


def _number(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if letter != 'k' else 1e3):.3g}{letter}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"

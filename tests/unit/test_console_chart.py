"""Charts: well-formed and inside their frame, whatever the numbers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.chart import HEIGHT, SPANS, WIDTH, chart, nice_top

NOW = datetime(2026, 11, 25, 12, 34, 56, tzinfo=UTC)
DAY = SPANS["24h"]
COLOURS = {"opened": 0, "<synced>": 2}
numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 10**12).map(float)


@given(
    values=st.lists(st.tuples(numbers, numbers), max_size=6),
    kind=st.sampled_from(("bars", "lines")),
)
def test_whatever_the_numbers_everything_is_inside(
    values: list[tuple[float, float]], kind: Literal["bars", "lines"]
) -> None:
    """Each coordinate of a chart is a number within the frame, and names are escaped."""
    buckets = DAY.buckets(NOW)
    series = {
        name: {at: pair[place] for at, pair in zip(buckets, values, strict=False)}
        for place, name in enumerate(COLOURS)
    }
    root = ElementTree.fromstring(chart("How <many>", series, COLOURS, DAY, NOW, kind=kind).svg)
    for element in root.iter():
        points = [point.split(",") for point in element.get("points", "").split()]
        across = [element.get(name) for name in ("x", "x1", "x2")] + [x for x, _ in points]
        down = [element.get(name) for name in ("y", "y1", "y2")] + [y for _, y in points]
        assert all(-0.01 <= float(x) <= WIDTH + 0.01 for x in across if x is not None)
        assert all(-0.01 <= float(y) <= HEIGHT + 0.01 for y in down if y is not None)
        assert float(element.get("height", 0)) >= 0
    assert root.get("aria-label") == "How <many>"


def test_buckets_are_those_of_the_database() -> None:
    """Buckets are cut from the year 2000 on, as ``date_bin`` does, and the last one is in progress."""
    buckets = DAY.buckets(NOW)
    assert len(buckets) == 49
    assert buckets[-1] == datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
    assert {later - earlier for earlier, later in pairwise(buckets)} == {timedelta(minutes=30)}
    assert all(span.seconds % span.bucket == 0 for span in SPANS.values())


def test_the_table_has_what_the_picture_shows() -> None:
    """The table beside a chart has the same numbers, without empty buckets."""
    at = DAY.buckets(NOW)[3]
    drawn = chart("Title", {"opened": {at: 2.0}, "unknown": {at: 9.0}}, COLOURS, DAY, NOW)
    assert drawn.rows == ((at, (2.0, 0.0)),)
    assert drawn.names == (("opened", 0), ("<synced>", 2))
    assert ElementTree.fromstring(drawn.svg).findtext("desc") == "the last 24 hours; opened: 2, <synced>: 0"


def test_a_line_is_broken_where_nothing_is_known() -> None:
    """A line is broken where no value is known, and goes on where the value is 0."""
    buckets = DAY.buckets(NOW)
    series = {"opened": {buckets[place]: 0.0 for place in (3, 4, 5, 9, 20, 21)}}
    root = ElementTree.fromstring(chart("Title", series, COLOURS, DAY, NOW, kind="lines").svg)
    assert [len(line.get("points", "").split()) for line in root.findall("polyline")] == [3, 2, 2]


def test_nothing_is_drawn_of_nothing() -> None:
    """A chart without values has its axes alone."""
    root = ElementTree.fromstring(chart("Title", {}, COLOURS, DAY, NOW).svg)
    assert root.findall("rect") == []
    assert len(root.findall("line")) == 5


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 4), (3, 4), (5, 8), (9, 10), (10, 10), (11, 20), (45, 80), (81, 100), (1e6, 1e6)]
)
def test_the_axis_ends_at_a_round_number(highest: float, top: float) -> None:
    """The axis ends at a round number that is not below the highest value."""
    assert nice_top(highest) == top

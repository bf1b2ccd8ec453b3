"""A stream of bytes as numbered lines, however it is cut into pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.operate.importing import lines
from worker.operate.importing.lines import Block, Lines, Place


def read_from(pieces: Iterable[bytes | None], start: Place = Place()) -> tuple[list[Block], bool]:  # noqa: B008
    """Return the blocks, and whether the end was reached."""
    left: Iterator[bytes | None] = iter([*pieces, b""])
    found = Lines(lambda: next(left), start)
    return list(found), found.exhausted


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut the data into pieces of these sizes and the rest."""
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [piece for piece in [*pieces, data[position:]] if piece]


@given(
    data=st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcdefgh", b"\x00", b"\xff"])).map(b"".join),
    sizes=st.lists(st.integers(1, 9), max_size=12),
)
def test_the_pieces_do_not_matter(data: bytes, sizes: list[int]) -> None:
    """The lines and their numbers do not depend on the pieces; long lines are cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LONGEST_LINE", 8)
        blocks, exhausted = read_from(cut(data, sizes))
    assert exhausted
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    numbered = [line for block in blocks for line in block.lines]
    assert numbered == [(number, text[:9]) for number, text in enumerate(expected, 1)]
    for block in blocks:
        number, _ = block.lines[-1]
        behind = data[: block.end.offset]
        assert block.end.line == number == len(behind.removesuffix(b"\n").split(b"\n"))
        assert behind.endswith(b"\n") or behind == data


@given(data=st.lists(st.sampled_from([b"\n", b"a", b"bc"]), min_size=1).map(b"".join), sizes=st.data())
def test_it_goes_on_where_a_block_ended(data: bytes, sizes: st.DataObject) -> None:
    """Reading from the end of any block yields the lines that are left, with their numbers."""
    all_blocks, _ = read_from(cut(data, sizes.draw(st.lists(st.integers(1, 4)))))
    place = sizes.draw(st.sampled_from([block.end for block in all_blocks] or [Place()]))
    rest, _ = read_from(cut(data[place.offset :], [3]), place)
    everything = [line for block in all_blocks for line in block.lines]
    assert [line for block in rest for line in block.lines] == everything[place.line :]


def test_lines_come_as_they_arrive() -> None:
    """Lines are handed on as they arrive, and half a line waits for its other half."""
    blocks, _ = read_from([b"one\ntw", b"o\nthree\n", b"four"])
    assert [block.lines for block in blocks] == [
        [(1, b"one")],
        [(2, b"two"), (3, b"three")],
        [(4, b"four")],
    ]


def test_a_stop_is_no_end() -> None:
    """Half a line that was read before a stop is not taken for a line."""
    blocks, exhausted = read_from([b"one\ntw", None])
    assert [block.lines for block in blocks] == [[(1, b"one")]]
    assert not exhausted


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    """A byte order mark is removed from the first line only, and counts as bytes."""
    blocks, _ = read_from([b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n"])
    assert blocks == [Block([(1, b"{}"), (2, b"\xef\xbb\xbf{}")], Place(2, 12))]


def test_a_long_line_takes_no_memory() -> None:
    """A line without an end is kept only up to one byte more than the limit."""
    piece = b"x" * (1 << 20)
    blocks, _ = read_from([piece] * 1024)
    [(number, text)] = blocks[0].lines
    assert (number, len(text), blocks[0].end) == (1, lines.LONGEST_LINE + 1, Place(1, 1 << 30))

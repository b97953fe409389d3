from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.files.compression import TruncatedFileError
from thingbeam.io.files.lines import KEPT_BYTES, Damage, Lines, LongLine, cut_lines

DATA = st.lists(st.sampled_from([b"", b"a", b"bc", b"\r", b"0123456789", b"x" * 40])).map(b"\n".join) | st.binary(
    max_size=80
)


def _chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def _expected(data: bytes) -> list[tuple[int, bytes]]:
    """(offset, line with its end) by the plainest means there is."""
    lines: list[tuple[int, bytes]] = []
    begin = 0
    for at, byte in enumerate(data):
        if byte == 10:
            lines.append((begin, data[begin : at + 1]))
            begin = at + 1
    if begin < len(data):
        lines.append((begin, data[begin:]))
    if data.startswith(b"\xef\xbb\xbf"):
        offset, line = lines[0]
        lines[0:1] = [(offset + 3, line[3:])] if line[3:] else []
    return lines


def _lines_of(piece: Lines) -> list[tuple[int, bytes]]:
    return [(piece.offset + at - 1, line) for at, line in _expected(b"\n" + piece.data)[1:]]


@given(DATA, st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 60), st.booleans())
def test_spans_are_the_whole_lines_in_order(data: bytes, sizes: list[int], size: int, mark: bool) -> None:
    data = b"\xef\xbb\xbf" + data if mark else data
    found: list[tuple[int, bytes]] = []
    for piece in cut_lines(_chunks(data, sizes), size=size, limit=1000):
        assert isinstance(piece, Lines)
        found.extend(_lines_of(piece))
    assert found == _expected(data)


@given(
    DATA,
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.integers(1, 60),
    st.lists(st.integers(1, 120), unique=True, max_size=5),
    st.integers(1, 30),
)
def test_ranges_together_give_each_line_once_and_long_ones_apart(
    data: bytes, sizes: list[int], size: int, cuts: list[int], limit: int
) -> None:
    data = data.removeprefix(b"\xef\xbb\xbf")
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), None]
    found: list[tuple[int, bytes | int]] = []
    for start, stop in pairwise(bounds):
        assert start is not None
        stream = _chunks(data[max(0, start - 1) :], sizes)
        for piece in cut_lines(stream, start=start, stop=stop, size=size, limit=limit):
            assert not isinstance(piece, Damage)
            assert start <= piece.offset < (len(data) if stop is None else stop)
            if isinstance(piece, LongLine):
                assert piece.head == data[piece.offset : piece.offset + min(piece.length, KEPT_BYTES)]
                found.append((piece.offset, piece.length))
            else:
                found.extend(_lines_of(piece))
    lengths = [(at, line, len(line.removesuffix(b"\n"))) for at, line in _expected(data)]
    assert found == [(at, length if length > limit else line) for at, line, length in lengths]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_cut_may_fall_on_any_byte(size: int) -> None:
    data = b"a\n\nbcd\nefghij\nk\n"
    for cut in range(1, len(data)):
        for width in (1, 2, 5, 50):
            first = cut_lines(_chunks(data, [width]), stop=cut, size=size, limit=100)
            second = cut_lines(_chunks(data[cut - 1 :], [width]), start=cut, size=size, limit=100)
            found = [_lines_of(piece) for part in (first, second) for piece in part if isinstance(piece, Lines)]
            assert [line for some in found for line in some] == _expected(data), (cut, width)


def test_a_long_line_that_ends_its_range_is_the_last_of_it() -> None:
    data = b"x" * 9 + b"\n" + b"next\n"
    assert list(cut_lines([data[:5], data[5:]], stop=10, size=1, limit=5)) == [LongLine(0, 9, b"x" * 9)]
    assert list(cut_lines([b"y\nnext\n"], start=1, stop=2, size=1, limit=5)) == []


def test_only_the_first_bytes_of_a_file_are_a_byte_order_mark() -> None:
    mark = b"\xef\xbb\xbf"
    data = mark + b"a\n" + mark + b"b\n"
    for size in (1, 100):
        spans = [piece for piece in cut_lines([data], size=size, limit=100) if isinstance(piece, Lines)]
        assert (spans[0].offset, b"".join(span.data for span in spans)) == (3, data[3:])
    assert list(cut_lines([mark], size=1, limit=9)) == []


def test_spans_are_about_the_size_asked_for() -> None:
    data = b"".join(b"%09d\n" % at for at in range(10_000))
    pieces = list(cut_lines(_chunks(data, [777]), size=5_000, limit=100))
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Lines)) == data
    assert all(4_990 <= len(piece.data) <= 5_787 for piece in pieces[:-1] if isinstance(piece, Lines))


def test_large_chunks_are_cut_too() -> None:
    data = b"".join(b"%09d\n" % at for at in range(10_000))
    pieces = list(cut_lines([data], size=5_000, limit=100))
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Lines)) == data
    assert {len(piece.data) for piece in pieces if isinstance(piece, Lines)} == {5_000}


def test_a_line_without_end_takes_no_more_memory_than_the_limit() -> None:
    passed = 0

    def endless() -> Iterator[bytes]:
        nonlocal passed
        yield b"first\n"
        for _ in range(1000):
            passed += 1 << 20
            yield b"y" * (1 << 20)
        yield b"\nlast"

    pieces = list(cut_lines(endless(), size=1 << 20, limit=2 << 20))
    assert passed == 1000 << 20
    assert pieces == [
        Lines(0, b"first\n"),
        LongLine(6, 1000 << 20, b"y" * KEPT_BYTES),
        Lines(7 + (1000 << 20), b"last"),
    ]


def test_damage_keeps_the_line_that_was_not_finished() -> None:
    error = TruncatedFileError("cut")

    def broken(*chunks: bytes) -> Iterator[bytes]:
        yield from chunks
        raise error

    assert list(cut_lines(broken(b"a\nb\nc", b"d"), size=100, limit=9)) == [
        Lines(0, b"a\nb\n"),
        Damage(4, b"cd", error),
    ]
    assert list(cut_lines(broken(b"a\n"), size=1, limit=9)) == [Lines(0, b"a\n"), Damage(2, b"", error)]
    assert list(cut_lines(broken(b"a\n" + b"z" * 70_000), size=1, limit=9)) == [
        Lines(0, b"a\n"),
        Damage(2, b"z" * KEPT_BYTES, error),
    ]

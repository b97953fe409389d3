from __future__ import annotations

import gzip
import io
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard

from thingbeam.io.files.compression import (
    CorruptFileError,
    DamagedFileError,
    TruncatedFileError,
    compress,
    decompress,
)

Pack = Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Pack] = {"gzip": gzip.compress, "zstd": _zstd}


def _text(size: int, seed: int = 1) -> bytes:
    chosen = random.Random(seed)
    return b"".join(b"%d,%d\n" % (at, chosen.getrandbits(40)) for at in range(size // 18))


def _read(packed: bytes, kind: str) -> tuple[bytes, DamagedFileError | None]:
    out = b""
    try:
        for piece in decompress(io.BytesIO(packed), kind):  # type: ignore[arg-type]
            out += piece
    except DamagedFileError as error:
        return out, error
    return out, None


def _slowly(packed: bytes, kind: str) -> bytes:
    """All that can be had, one byte at a time, of one member or frame: what no reader can do better than."""
    decoder = zlib.decompressobj(31) if kind == "gzip" else zstandard.ZstdDecompressor().decompressobj()
    out = b""
    try:
        for at in range(len(packed)):
            out += decoder.decompress(packed[at : at + 1])
    except (zlib.error, zstandard.ZstdError):
        pass
    return out


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("size", [0, 18, 100_000, 3_000_000])
def test_whole_files_come_out_whole(kind: str, size: int) -> None:
    data = _text(size)
    assert _read(PACKERS[kind](data), kind) == (data, None)
    assert _read(compress(data, kind), kind) == (data, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", PACKERS)
def test_members_and_frames_follow_one_another(kind: str) -> None:
    parts = [_text(200_000, 1), b"", _text(100, 2), b"x", _text(70_000, 3)]
    assert _read(b"".join(map(PACKERS[kind], parts)), kind) == (b"".join(parts), None)


def test_zeros_after_the_last_gzip_member_and_skippable_zstd_frames_are_passed_over() -> None:
    assert _read(gzip.compress(b"a\n") + b"\0" * 200_000 + gzip.compress(b"b\n") + b"\0" * 512, "gzip")[0] == b"a\nb\n"
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert _read(_zstd(b"a\n") + skippable + _zstd(b"b\n"), "zstd") == (b"a\nb\n", None)


@pytest.mark.parametrize("kind", PACKERS)
def test_no_bytes_are_an_empty_file(kind: str) -> None:
    assert _read(b"", kind) == (b"", None)


@pytest.mark.parametrize("kind", PACKERS)
def test_cut_at_any_byte_gives_all_before_the_cut_and_says_so(kind: str) -> None:
    data = _text(500)
    packed = PACKERS[kind](data)
    for cut in range(1, len(packed)):
        out, error = _read(packed[:cut], kind)
        assert isinstance(error, TruncatedFileError)
        assert out == _slowly(packed[:cut], kind)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_large_file_that_is_cut_gives_all_before_the_cut(kind: str) -> None:
    data = _text(2_000_000)
    packed = PACKERS[kind](data)
    cut = packed[: len(packed) * 2 // 3]
    out, error = _read(cut, kind)
    assert isinstance(error, TruncatedFileError)
    decoder = zlib.decompressobj(31) if kind == "gzip" else zstandard.ZstdDecompressor().decompressobj()
    assert out == decoder.decompress(cut)
    assert len(out) > len(data) // 2
    assert data.startswith(out)


@pytest.mark.parametrize("kind", PACKERS)
def test_damage_gives_all_that_decodes_before_it_and_says_so(kind: str) -> None:
    data = _text(200_000)
    packed = PACKERS[kind](data)
    assert len(packed) > 1 << 16  # more than one piece of either
    chosen = random.Random(7)
    for at in [0, 1, 2, len(packed) - 1, *chosen.sample(range(len(packed)), 6)]:
        damaged = bytearray(packed)
        damaged[at] ^= 0xFF
        out, error = _read(bytes(damaged), kind)
        # A flipped byte of the header (a time, a window) can leave the content as it was.
        assert error is not None or out == data
        assert out == _slowly(bytes(damaged), kind), at


@pytest.mark.parametrize("kind", PACKERS)
def test_what_is_no_such_file_and_what_follows_the_end_are_corrupt(kind: str) -> None:
    out, error = _read(b'{"not": "compressed"}\n', kind)
    assert (out, type(error)) == (b"", CorruptFileError)
    out, error = _read(PACKERS[kind](b"a\n") + b"rubbish", kind)
    assert (out, type(error)) == (b"a\n", CorruptFileError)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_small_file_of_a_large_content_comes_in_bounded_pieces(kind: str) -> None:
    packed = PACKERS[kind](bytes(200 << 20))
    largest = total = 0
    for piece in decompress(io.BytesIO(packed), kind):  # type: ignore[arg-type]
        largest, total = max(largest, len(piece)), total + len(piece)
    assert total == 200 << 20
    assert largest <= 128 << 20


def test_compressed_bytes_do_not_depend_on_when() -> None:
    packed = compress(b"a" * 100, "gzip")
    assert packed[4:8] == b"\0\0\0\0"  # the time field of RFC 1952
    assert compress(b"a" * 100, None) == b"a" * 100

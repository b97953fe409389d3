"""gzip and zstd as streams of bounded pieces, told apart when cut short and when damaged."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Final, Protocol

import zstandard

from thingbeam.io.files.paths import Compression

__all__ = ["CorruptFileError", "DamagedFileError", "TruncatedFileError", "compress", "decompress"]

_GZIP_PIECE: Final = 1 << 16
# A zstd block of 4 bytes can stand for 128 KiB and the decoder has no limit on what it returns, so it is fed little at
# a time: at most 128 MiB come out of one piece of even a hostile file.
_ZSTD_PIECE: Final = 1 << 12
_OUTPUT: Final = 1 << 18


class DamagedFileError(ValueError):
    """A file whose bytes do not all decode; what came before has been yielded."""


class TruncatedFileError(DamagedFileError):
    """A file that ends in the middle."""


class CorruptFileError(DamagedFileError):
    """A file with bytes that cannot be what was written."""


class _Decoder(Protocol):
    piece: int
    open: bool
    """Whether a member or frame has begun and not ended."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Gzip:
    """Members one after another, as RFC 1952 allows, and zeros after the last, as tapes and gzip itself allow."""

    piece = _GZIP_PIECE

    def __init__(self) -> None:
        self.open = False
        self._any = False
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self.open:
                data = data.lstrip(b"\0") if self._any else data
                if not data:
                    return
                self._member = zlib.decompressobj(wbits=31)
                self.open = self._any = True
            try:
                out = self._member.decompress(data, _OUTPUT)
            except zlib.error as error:
                raise CorruptFileError(f"gzip: {error}") from error
            self.open = not self._member.eof
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if out:
                yield out


class _Zstd:
    """Frames one after another, as RFC 8878 allows, skippable ones among them."""

    piece = _ZSTD_PIECE

    def __init__(self) -> None:
        self.open = False
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self.open:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                self.open = True
            try:
                out = self._frame.decompress(data)
            except zstandard.ZstdError as error:
                raise CorruptFileError(f"zstd: {error}") from error
            self.open = not self._frame.eof
            data = self._frame.unused_data if self._frame.eof else b""
            if out:
                yield out


def _decoder(compression: Compression) -> _Decoder:
    return _Gzip() if compression == "gzip" else _Zstd()


def decompress(file: IO[bytes], compression: Compression) -> Iterator[bytes]:
    """The bytes of a compressed file, in pieces, in memory that does not grow with the file.

    Every byte that can be decoded before a fault is yielded before the error is raised. No bytes at all are an empty
    file.

    Args:
        file: at its beginning, and seekable.
        compression: gzip (any number of members) or zstd (any number of frames, windows up to 128 MiB).

    Raises:
        TruncatedFileError: the file ends within a member or frame.
        CorruptFileError: bytes that do not decode, or a checksum that does not fit.
    """
    decoder = _decoder(compression)
    consumed = produced = 0
    while data := file.read(decoder.piece):
        try:
            for out in decoder.feed(data):
                produced += len(out)
                yield out
        except CorruptFileError:
            yield from _last_bytes(file, compression, consumed, produced)
            raise
        consumed += len(data)
    if decoder.open:
        raise TruncatedFileError(f"{compression}: the file ends in the middle, after {consumed} bytes")


def _last_bytes(file: IO[bytes], compression: Compression, consumed: int, produced: int) -> Iterator[bytes]:
    # A failing call gives none of what it had decoded, so the file is decoded again up to that call (whose output is
    # already out) and the piece that failed is fed byte by byte.
    file.seek(0)
    decoder = _decoder(compression)
    again = 0
    try:
        while True:
            data = file.read(min(decoder.piece, consumed) or 1)
            if not data:
                return
            consumed -= min(len(data), consumed)
            for out in decoder.feed(data):
                again += len(out)
                if again > produced:
                    yield out[max(0, len(out) - (again - produced)) :]
    except CorruptFileError:
        return


def compress(data: bytes, compression: Compression | None) -> bytes:
    """Bytes compressed: the same for the same data, whenever it is written.

    >>> compress(b"a", "gzip") == compress(b"a", "gzip")
    True
    """
    if compression is None:
        return data
    if compression == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import zstandard
from apache_beam.coders import registry
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from thingbeam.io.files import blobs
from thingbeam.io.files.blobs import ReadBlobs, read_blobs
from thingbeam.schemas import DeadLetter
from thingbeam.schemas.blob import Blob, BlobCoder

Pipelines = Callable[[], TestPipeline]


def _lines(blob: Blob) -> list[tuple[str, int, bytes]]:
    """Each line of a blob with where it is."""
    found: list[tuple[str, int, bytes]] = []
    offset = blob.offset
    for line in blob.data.split(b"\n"):
        if line:
            found.append((Path(blob.source).name, offset, line))
        offset += len(line) + 1
    return found


def _located(name: str, data: bytes) -> list[tuple[str, int, bytes]]:
    return _lines(Blob(name, 0, data))


def _letter(letter: DeadLetter) -> tuple[str, str, str, bytes]:
    assert letter.step == "ReadBlobs"
    assert Timestamp.now() - letter.time < 600
    return Path(letter.source).name, letter.code, letter.position, letter.payload


@given(st.text(), st.integers(0, 2**63 - 1), st.binary())
def test_the_coder_gives_back_what_it_took(source: str, offset: int, data: bytes) -> None:
    blob = Blob(source, offset, data)
    coder = registry.get_coder(Blob)
    assert isinstance(coder, BlobCoder)
    encoded = coder.encode(blob)
    assert coder.decode(encoded) == blob
    assert abs(coder.estimate_size(blob) - len(encoded)) <= 3 * len(source)
    assert coder.is_deterministic()


def test_files_of_all_kinds_give_each_line_once(pipeline: Pipelines, tmp_path: Path) -> None:
    chosen = random.Random(3)
    plain = b"".join(b"%d:%s\n" % (at, b"x" * chosen.randrange(60)) for at in range(3_000))
    crlf = plain[:500].replace(b"\n", b"\r\n") + b"the last has no end"
    (tmp_path / "plain.jsonl").write_bytes(plain)
    (tmp_path / "crlf.jsonl").write_bytes(b"\xef\xbb\xbf" + crlf)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "two.jsonl.gz").write_bytes(gzip.compress(plain[:999]) + gzip.compress(plain[999:]))
    (tmp_path / "two.jsonl.zst").write_bytes(zstandard.compress(plain[:999]) + zstandard.compress(plain[999:]))
    expected = [
        *_located("plain.jsonl", plain),
        *[(name, at + 3, line) for name, at, line in _located("crlf.jsonl", crlf)],
        *_located("two.jsonl.gz", plain),
        *_located("two.jsonl.zst", plain),
    ]
    started = pipeline()
    with started as run:
        read = run | ReadBlobs(f"{tmp_path}/*", blob_bytes=5_000, split_bytes=20_000)
        assert_that(read.blobs | beam.FlatMap(_lines), equal_to(expected))
        assert_that(read.dead_letters, equal_to([]), label="no dead letters")
        sizes = read.blobs | "Size" >> beam.Map(lambda blob: len(blob.data))

        def moderate(found: list[int]) -> None:
            assert 0 < min(found) <= max(found) < 11_000

        assert_that(sizes, moderate, label="sizes")
        starts = read.blobs | beam.Map(lambda blob: (Path(blob.source).name, blob.offset // 20_000)) | beam.Distinct()
        in_plain = starts | beam.Filter(lambda start: start[0] == "plain.jsonl") | beam.combiners.Count.Globally()
        assert_that(in_plain, equal_to([-(-len(plain) // 20_000)]), label="ranges")
    [counter] = started.result.metrics().query(MetricsFilter().with_name("bytes_read"))["counters"]
    assert counter.committed == len(plain) * 3 + len(crlf)


def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on(pipeline: Pipelines, tmp_path: Path) -> None:
    chosen = random.Random(5)
    text = b"".join(b"%d:%d\n" % (at, chosen.getrandbits(60)) for at in range(20_000))
    packed = {"gz": gzip.compress(text), "zst": zstandard.compress(text)}
    long = b"L" * 300_000
    (tmp_path / "long.jsonl").write_bytes(b"a\n" + long + b"\nb\n" + long)
    for kind, data in packed.items():
        (tmp_path / f"cut.jsonl.{kind}").write_bytes(data[: len(data) // 2])
    (tmp_path / "no.jsonl.gz").write_bytes(b'{"token": "secret"}\n')
    (tmp_path / "tail.jsonl.gz").write_bytes(packed["gz"] + b"rubbish")

    def whole_lines(blobs: list[Blob]) -> None:
        files: dict[str, bytes] = {}
        for blob in sorted(blobs):
            name = Path(blob.source).name
            assert name == "long.jsonl" or blob.offset == len(files.get(name, b""))
            files[name] = files.get(name, b"") + blob.data
        assert files.pop("long.jsonl") == b"a\nb\n"
        assert files.pop("tail.jsonl.gz") == text
        assert set(files) == {"cut.jsonl.gz", "cut.jsonl.zst"}
        for data in files.values():
            assert text.startswith(data)
            assert data.endswith(b"\n")
            assert len(data) > len(text) // 4

    def letters(found: list[DeadLetter]) -> None:
        by_name: dict[str, list[tuple[str, str, bytes]]] = {}
        for name, code, position, payload in sorted(map(_letter, found)):
            by_name.setdefault(name, []).append((code, position, payload))
        assert by_name.pop("long.jsonl") == [
            ("too_large", "offset=2", long[:65536]),
            ("too_large", "offset=300005", long[:65536]),
        ]
        assert by_name.pop("no.jsonl.gz") == [("corrupt_file", "offset=0", b"")]
        assert by_name.pop("tail.jsonl.gz") == [("corrupt_file", f"offset={len(text)}", b"")]
        for name in ("cut.jsonl.gz", "cut.jsonl.zst"):
            [(code, position, payload)] = by_name.pop(name)
            assert code == "truncated_file"
            offset = int(position.removeprefix("offset="))
            assert text[offset - 1 : offset] == b"\n"
            assert text[offset : offset + len(payload)] == payload
            assert b"\n" not in payload
        assert by_name == {}
        assert "a line of 300000 bytes, over the limit of 200000" in {letter.error for letter in found}

    with pipeline() as run:
        read = run | ReadBlobs(f"{tmp_path}/*", blob_bytes=10_000, max_line_bytes=200_000)
        assert_that(read.blobs, whole_lines)
        assert_that(read.dead_letters, letters, label="dead letters")
        assert read.blobs.element_type is Blob
        assert read.dead_letters.element_type is DeadLetter


def test_secrets_are_blanked_out_of_dead_letters(pipeline: Pipelines, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"token=secret, and more than the limit\n")
    with pipeline() as run:
        read = run | ReadBlobs(
            f"{tmp_path}/a.jsonl", max_line_bytes=9, redact=lambda payload: payload.replace(b"secret", b"*")
        )
        expected = [("a.jsonl", "too_large", "offset=0", b"token=*, and more than the limit")]
        assert_that(read.dead_letters | beam.Map(_letter), equal_to(expected))


def test_any_beam_filesystem_is_read_in_ranges(pipeline: Pipelines, memory: dict[str, bytes]) -> None:
    data = b"".join(b"%d\n" % at for at in range(1_000))
    memory["memory://bucket/in/a.jsonl"] = data
    with pipeline() as run:
        read = run | ReadBlobs(["memory://bucket/in/*.jsonl"], split_bytes=100, blob_bytes=30)
        assert_that(read.blobs | beam.FlatMap(_lines), equal_to(_located("a.jsonl", data)))


def test_mistakes_are_told_when_the_pipeline_is_built(pipeline: Pipelines, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        _ = beam.Pipeline() | ReadBlobs(f"{tmp_path}/none.jsonl")
    with pytest.raises(ValueError, match="must be positive"):
        ReadBlobs("x", blob_bytes=0)
    # Told not to ask, it asks on the worker.
    with pytest.raises(Exception, match="no such file"), pipeline() as run:
        _ = run | ReadBlobs(f"{tmp_path}/none.jsonl", check=False)


def test_without_a_pipeline_a_file_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n22\n333\n")
    pieces: list[Any] = list(read_blobs(str(path), blob_bytes=2))
    assert pieces == [Blob(str(path), 0, b"1\n"), Blob(str(path), 2, b"22\n"), Blob(str(path), 5, b"333\n")]
    assert list(read_blobs(str(path), 2, 5)) == [Blob(str(path), 2, b"22\n")]


def test_a_range_of_a_local_file_is_read_little_beyond_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    line = b"x" * 99 + b"\n"
    path.write_bytes(line * 2_000)
    taken: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size) or b""
            taken.append(len(data))
            return data

    monkeypatch.setattr(blobs, "open_file", Watched)
    found = list(read_blobs(str(path), 50_001, 150_001, blob_bytes=30_000))
    assert all(isinstance(piece, Blob) for piece in found)
    assert b"".join(piece.data for piece in found if isinstance(piece, Blob)) == line * 1_000
    # Four chunks to the end of a line, and a look for it in each.
    assert sum(taken) < 100_000 + 4 * (4_096 + 200)

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp

from thingbeam.io.files.manifest import Manifest, WriteManifest, prepare_output, read_manifest, write_manifest
from thingbeam.io.files.records import read_table
from thingbeam.io.files.sink import WriteToFiles, WrittenFile
from thingbeam.schemas import Event

Pipelines = Callable[[], TestPipeline]
KINDS = ("usage", "dead-letters")


def test_a_manifest_reads_back_by_path_with_each_file_once(tmp_path: Path) -> None:
    here = str(tmp_path)
    files = [WrittenFile(f"{here}/usage-2.avro", 5, 50), WrittenFile(f"{here}/late-1.avro", 1, 10)]
    first = WrittenFile(f"{here}/usage-1.avro", 7, 70)
    assert write_manifest(here, [*files, first, files[0]], {"lines_in": 13}) == f"{here}/manifest.json"
    manifest = read_manifest(here)
    assert manifest == Manifest((files[1], first, files[0]), {"lines_in": 13})
    assert manifest.paths("usage") == [f"{here}/usage-1.avro", f"{here}/usage-2.avro"]
    assert (manifest.rows("usage"), manifest.rows("sessions")) == (12, 0)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {
        "version": 1,
        "files": [
            {"name": "late-1.avro", "rows": 1, "bytes": 10},
            {"name": "usage-1.avro", "rows": 7, "bytes": 70},
            {"name": "usage-2.avro", "rows": 5, "bytes": 50},
        ],
        "about": {"lines_in": 13},
    }


def test_a_directory_that_moved_is_still_read(tmp_path: Path) -> None:
    write_manifest(f"{tmp_path}/a", [WrittenFile(f"{tmp_path}/a/usage-1.avro", 5, 50)])
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_manifest(f"{tmp_path}/b/").paths("usage") == [f"{tmp_path}/b/usage-1.avro"]


def test_files_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not in"):
        write_manifest(f"{tmp_path}/a", [WrittenFile(f"{tmp_path}/b/usage-1.avro", 5, 50)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no manifest.json: no run has finished there"),
        ("{", "cannot be read"),
        ('{"version": 2, "files": []}', "is of version 2; this release reads 1"),
        ('{"version": 1, "files": [{"name": "../x", "rows": 1, "bytes": 1}]}', "names '../x', which is not in its dir"),
        ('{"version": 1, "files": [{"name": "..", "rows": 1, "bytes": 1}]}', "names '..', which is not in its dir"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_manifest(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_output_directory_is_made(tmp_path: Path) -> None:
    prepare_output(f"{tmp_path}/new/out", KINDS)
    assert os.listdir(tmp_path / "new" / "out") == []
    prepare_output(f"{tmp_path}/new/out", KINDS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot make"):
        prepare_output(f"{tmp_path}/file/out", KINDS)
    with pytest.raises(ValueError, match="is a file, not a directory"):
        prepare_output(f"{tmp_path}/file", KINDS)


@pytest.mark.parametrize("found", ["usage-1.jsonl", "dead-letters-1.jsonl.gz", "usage-a.parquet", "manifest.json"])
def test_results_are_not_mixed_with_earlier_ones(tmp_path: Path, found: str) -> None:
    (tmp_path / found).write_text("{}")
    with pytest.raises(ValueError, match=f"already holds results \\({found}\\): give --overwrite") as caught:
        prepare_output(str(tmp_path), KINDS)
    assert "\n" not in str(caught.value)
    assert (tmp_path / found).exists()


@pytest.mark.parametrize("remote", [False, True])
def test_overwriting_removes_earlier_results_and_nothing_else(
    tmp_path: Path, memory: dict[str, bytes], remote: bool
) -> None:
    root = "memory://bucket/out" if remote else str(tmp_path)
    ours = ["usage-1.jsonl", "usage-00000-of-00001.avro", "dead-letters-x.jsonl.zst", "listed-1.bin"]
    others = ["usage-notes.txt", "usage.jsonl", "my-usage-1.jsonl", "report.html", "deep/usage-1.jsonl"]
    for name in (*ours, *others):
        if remote:
            memory[f"{root}/{name}"] = b""
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
    gone = WrittenFile(f"{root}/usage-gone.avro", 1, 1)
    write_manifest(root, [WrittenFile(f"{root}/listed-1.bin", 1, 1), gone])
    prepare_output(root, KINDS, overwrite=True)
    if remote:
        assert sorted(memory) == sorted(f"{root}/{name}" for name in others)
    else:
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == set(others)
    prepare_output(root, KINDS)


def test_unfinished_files_of_a_run_that_died_are_removed(tmp_path: Path) -> None:
    ours = tmp_path / f".usage-1.jsonl.{'0f' * 16}.tmp"
    other = tmp_path / ".usage-1.jsonl.tmp"
    ours.write_bytes(b"half")
    other.write_bytes(b"not ours")
    prepare_output(str(tmp_path), KINDS, overwrite=True)
    assert os.listdir(tmp_path) == [other.name]


def test_a_rerun_with_other_shards_is_read_whole_by_its_manifest(pipeline: Pipelines, tmp_path: Path) -> None:
    events = [Event.of(f"e{at}", Timestamp(at), "d1", "c", "a", "x") for at in range(40)]
    for shards in (4, 3):
        with pipeline() as run:
            written = run | beam.Create(events) | WriteToFiles(f"{tmp_path}/events", Event, shards=shards)
            path = written | WriteManifest(str(tmp_path), {"shards": shards})
            assert_that(path, equal_to([f"{tmp_path}/manifest.json"]))
    assert len(list(tmp_path.glob("events-*"))) == 7
    manifest = read_manifest(str(tmp_path))
    assert manifest.about == {"shards": 3}
    assert len(read_table(manifest.paths("events"), Event)) == manifest.rows("events") == 40


def test_a_run_without_results_has_an_empty_manifest_and_a_stream_none(pipeline: Pipelines, tmp_path: Path) -> None:
    with pipeline() as run:
        _ = run | beam.Create([]).with_output_types(WrittenFile) | WriteManifest(str(tmp_path))
    assert read_manifest(str(tmp_path)) == Manifest((), {})
    with pytest.raises(ValueError, match="needs input that ends"):
        _ = TestPipeline() | TestStream() | WriteManifest(str(tmp_path))

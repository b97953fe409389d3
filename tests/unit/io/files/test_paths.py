from __future__ import annotations

import os
from pathlib import Path

import pytest

from thingbeam.io.files.paths import (
    InputFile,
    check_inputs,
    compression_of,
    ending,
    format_of,
    match_files,
    write_file,
)


@pytest.mark.parametrize(
    ("name", "file_format", "compression"),
    [
        ("a.jsonl", "jsonl", None),
        ("a.JSONL.GZ", "jsonl", "gzip"),
        ("a.ndjson.zst", "jsonl", "zstd"),
        ("gs://b/a.b.json.zstd", "jsonl", "zstd"),
        ("a.avro", "avro", None),
        ("a.parquet", "parquet", None),
    ],
)
def test_format_and_compression_follow_from_the_ending(name: str, file_format: str, compression: str | None) -> None:
    assert (format_of(name), compression_of(name)) == (file_format, compression)


@pytest.mark.parametrize("name", ["a.txt", "a", "jsonl", "a.gz", "a.csv.gz"])
def test_an_ending_that_names_no_format_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="say format= one of jsonl, avro, parquet"):
        format_of(name)


def test_endings_are_read_back_as_what_they_were_made_of() -> None:
    for compression in (None, "gzip", "zstd"):
        name = "x" + ending("jsonl", compression)  # type: ignore[arg-type]
        assert (format_of(name), compression_of(name)) == ("jsonl", compression)
    assert ending("parquet", "zstd") == ".parquet"
    with pytest.raises(ValueError, match="no compression 'bz2'"):
        ending("jsonl", "bz2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no format 'csv'"):
        ending("csv", None)  # type: ignore[arg-type]


def test_globs_find_each_file_once_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.jsonl", "a.jsonl", "c.txt", "deep/d.jsonl"):
        (tmp_path / name).write_bytes(b"12345")
    here = f"{tmp_path}/"
    found = match_files([here + "*.jsonl", here + "a.*"])
    assert found == [InputFile(here + "a.jsonl", 5), InputFile(here + "b.jsonl", 5)]
    assert [os.path.basename(file.path) for file in match_files(here + "**.jsonl")] == ["a.jsonl", "b.jsonl", "d.jsonl"]
    assert [os.path.basename(file.path) for file in match_files(here)] == ["a.jsonl", "b.jsonl", "c.txt"]


def test_patterns_without_a_directory_are_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    assert match_files("*.jsonl") == match_files("a.jsonl") == [InputFile("a.jsonl", 1)]


def test_a_file_whose_name_has_glob_characters_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_bytes(b"literal")
    (tmp_path / "a1.jsonl").write_bytes(b"other")
    assert match_files(f"{tmp_path}/a[1].jsonl") == [InputFile(f"{tmp_path}/a[1].jsonl", 7)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none.jsonl", "^no such file: '.*none.jsonl'$"),
        ("*.none", "^no file matches '.*none'$"),
        ("full/none/", "^no file matches '.*none/'$"),
        ("full", "^'.*full' is a directory: name its files, as in '.*full/[*].jsonl'$"),
        ("full/x.jsonl.bz2", "^'.*bz2': .bz2 files are not read; unpack it, or compress with gzip or zstd$"),
    ],
)
def test_inputs_that_cannot_be_read_are_told_in_one_line(tmp_path: Path, pattern: str, message: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.jsonl.bz2").write_bytes(b"BZh9")
    with pytest.raises(ValueError, match=message) as caught:
        check_inputs(f"{tmp_path}/{pattern}")
    assert "\n" not in str(caught.value)


def test_a_filesystem_that_is_not_installed_and_no_pattern_at_all_are_told() -> None:
    with pytest.raises(ValueError, match="cannot read 'nosuch://bucket/x'"):
        check_inputs("nosuch://bucket/x")
    with pytest.raises(ValueError, match="no input"):
        check_inputs([])


def test_format_none_asks_each_ending(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(b"")
    (tmp_path / "a.csv").write_bytes(b"")
    assert len(check_inputs(f"{tmp_path}/*.avro", None)) == 1
    assert len(check_inputs(f"{tmp_path}/*", "jsonl")) == 2
    with pytest.raises(ValueError, match="format"):
        check_inputs(f"{tmp_path}/*", None)


@pytest.mark.parametrize("remote", [False, True])
def test_writing_replaces_whole_files_and_leaves_nothing_beside_them(
    tmp_path: Path, memory: dict[str, bytes], remote: bool
) -> None:
    root = "memory://bucket" if remote else str(tmp_path)
    path = f"{root}/new/folder/a[1].bin"
    write_file(path, b"first, and longer")
    write_file(path, b"second")
    if remote:
        assert memory == {path: b"second"}
    else:
        assert Path(path).read_bytes() == b"second"
        assert os.listdir(tmp_path / "new" / "folder") == ["a[1].bin"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_file(f"{tmp_path}/a.bin", b"old")
    (tmp_path / "d.bin").mkdir()
    with pytest.raises(OSError, match=r"d\.bin"):
        write_file(f"{tmp_path}/d.bin", b"onto a directory that is not empty")
    with pytest.raises(TypeError):
        write_file(f"{tmp_path}/a.bin", "text")  # type: ignore[arg-type]
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "d.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_unfinished_files_are_not_inputs(tmp_path: Path) -> None:
    (tmp_path / f".usage-1.jsonl.{'0f' * 16}.tmp").write_bytes(b"half")
    (tmp_path / "usage-1.jsonl").write_bytes(b"whole")
    assert [file.size for file in match_files(f"{tmp_path}/*")] == [5]


def test_objects_of_another_filesystem_are_matched(memory: dict[str, bytes]) -> None:
    memory["memory://bucket/in/a.jsonl"] = b"123"
    assert match_files("memory://bucket/in/*.jsonl") == [InputFile("memory://bucket/in/a.jsonl", 3)]
    assert match_files("memory://bucket/in/a.jsonl") == [InputFile("memory://bucket/in/a.jsonl", 3)]
    with pytest.raises(ValueError, match="no such file"):
        match_files("memory://bucket/none")

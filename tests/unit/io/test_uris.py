"""Which scheme is whose."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileSystem
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from apache_beam.io.localfilesystem import LocalFileSystem

from thingbeam.io import uris
from thingbeam.io.endpoints import RestartableSource, Sink, Source
from thingbeam.io.files.endpoint import DirectorySink, FileOptions, FileSource
from thingbeam.io.kafka.endpoint import KafkaSink, KafkaSource
from thingbeam.io.uris import SCHEMES, Scheme, is_service, scheme_of, sink_of, source_of


def test_paths_are_no_services() -> None:
    assert scheme_of("/data/x.jsonl") == scheme_of("data/*.gz") == ""
    assert not is_service("gs://b/x")
    assert is_service("KAFKA://b:1/t")


def test_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    source = source_of(str(tmp_path / "*.jsonl"))
    assert isinstance(source, FileSource)
    assert [Path(file.path).name for file in source.files] == ["a.jsonl"]
    sink = sink_of(str(tmp_path / "out"), FileOptions("avro"))
    assert isinstance(sink, DirectorySink)
    assert not source.endless
    assert not sink.endless
    assert not isinstance(source, RestartableSource)


def test_topics() -> None:
    source, sink = source_of("kafka://b:1/t"), sink_of("kafka://b:1/t")
    assert isinstance(source, KafkaSource)
    assert isinstance(source, RestartableSource)
    assert isinstance(sink, KafkaSink)
    assert isinstance(source, Source)
    assert isinstance(sink, Sink)
    assert source.endless
    assert sink.endless


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_names_what_is_there(name: str) -> None:
    scheme = SCHEMES[name]
    for function in filter(None, (scheme.source, scheme.sink)):
        assert callable(uris._imported(function, scheme))


def test_a_scheme_that_only_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "SCHEMES", {"up": Scheme(None, "a:b", "up"), "down": Scheme("a:b", None, "down")})
    with pytest.raises(ValueError, match="up:// is written to, not read"):
        source_of("up://x")
    with pytest.raises(ValueError, match="down:// is read, not written to"):
        sink_of("down://x")


def test_a_scheme_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystem, "get_all_subclasses", lambda: [LocalFileSystem, HadoopFileSystem])
    every = "sqs:// is none of the schemes that there are: azfs://, {}gs://, {}hdfs://, kafka://, kinesis://, s3://"
    for call, found in ((source_of, every.format("", "")), (sink_of, every.format("dynamodb://, ", "hbase://, "))):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            call("sqs://u:hunter2@queue")
        assert str(caught.value) == f"{found}; or give a path"
    assert isinstance(sink_of("hdfs://host/out"), DirectorySink)


def test_a_filesystem_that_beam_was_installed_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystem, "get_all_subclasses", lambda: [LocalFileSystem])
    for call in (source_of, sink_of):
        with pytest.raises(ValueError, match=r"^gs:// needs more of Beam: pip install 'apache-beam\[gcp\]'$"):
            call("gs://bucket/x.jsonl")


def test_without_its_client_it_says_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"it needs no_such_client: pip install 'thingbeam\[some\]'"):
        uris._imported("no_such_client.endpoint:Source", Scheme(None, None, "some"))
